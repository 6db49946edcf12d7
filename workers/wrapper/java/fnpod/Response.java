package fnpod;

import java.util.ArrayList;
import java.util.List;

/** An answer with status and headers. */
public final class Response {
    final Object body;
    int status;
    final List<Object[]> headers = new ArrayList<>();

    /** An answer with a body, which may be whatever a handler may return; null for none. */
    public Response(Object body) {
        this.body = body;
        this.status = body == null ? 204 : 200;
    }

    /** Sets the status, 200 to 599. */
    public Response status(int status) {
        this.status = status;
        return this;
    }

    /** Adds a header; the same name may come several times. */
    public Response header(String name, Object value) {
        headers.add(new Object[] {name, value});
        return this;
    }
}
