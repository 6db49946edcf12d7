import fnpod.Request;
import java.math.BigInteger;
import java.security.MessageDigest;
import java.util.Iterator;
import java.util.List;
import java.util.Map;

/** An example function: greets, reads JSON, tells what was uploaded, and streams. */
public class Handler {
    public static Object handle(Request req) throws Exception {
        if (req.path().equals("/stream")) {
            return stream(5);
        }
        String type = req.header("Content-Type");
        if (req.method().equals("POST") && type != null && type.contains("json")) {
            Object name = ((Map<?, ?>) req.json()).get("name");
            return Map.of("hello", name == null ? "world" : name);
        }
        if (req.method().equals("POST") || req.method().equals("PUT")) {
            byte[] sum = MessageDigest.getInstance("SHA-256").digest(req.body());
            return Map.of("bytes", req.body().length, "sha256", String.format("%064x", new BigInteger(1, sum)));
        }
        return "hello " + req.args().getOrDefault("name", List.of("world")).get(0) + "\n";
    }

    /** Each item reaches the client at once. */
    static Iterator<String> stream(int count) {
        return new Iterator<>() {
            private int i;

            @Override
            public boolean hasNext() {
                return i < count;
            }

            @Override
            public String next() {
                try {
                    Thread.sleep(i > 0 ? 200 : 0);
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                }
                return "part " + i++ + "\n";
            }
        };
    }
}
