package fnpod.contract;

import com.openfaas.model.AbstractHandler;
import com.openfaas.model.IHandler;
import com.openfaas.model.IResponse;
import com.openfaas.model.Request;
import fnpod.Call;
import fnpod.Host;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.TreeMap;
import java.util.regex.Pattern;

/** Calls handlers of OpenFaaS' Java templates as their server does. */
public final class OpenFaaS implements Call {
    private static final Pattern MARKUP = Pattern.compile("(?i)\\A\\s*<(!doctype html|html|head|body|h1|p>|div|table).*", Pattern.DOTALL);
    private static final Pattern CONTROL = Pattern.compile("[\\x00-\\x08\\x0b\\x0e-\\x1a\\x1c-\\x1f]");

    private final IHandler handler;

    /** Finds the handler: the class with that name, or what the image offers as a service, or com.openfaas.function.Handler. */
    public OpenFaaS(ClassLoader loader, String name, Host host) throws ReflectiveOperationException {
        handler = find(loader, name);
    }

    private static IHandler find(ClassLoader loader, String name) throws ReflectiveOperationException {
        if (name.isEmpty()) {
            for (AbstractHandler h : ServiceLoader.load(AbstractHandler.class, loader)) {
                return h;
            }
        }
        Class<?> type = Class.forName(name.isEmpty() ? "com.openfaas.function.Handler" : name, true, loader);
        if (!IHandler.class.isAssignableFrom(type)) {
            throw new ClassCastException(type.getName() + " is no com.openfaas.model.IHandler");
        }
        return (IHandler) type.getDeclaredConstructor().newInstance();
    }

    @Override
    public String label() {
        return handler.getClass().getName();
    }

    @Override
    public Object call(fnpod.Request req) {
        URI uri;
        try { // as the JDK's server does
            uri = new URI("http://h" + req.path() + (req.query().isEmpty() ? "" : "?" + req.query()));
        } catch (URISyntaxException e) {
            return new fnpod.Response("<h1>400 Bad Request</h1>").status(400).header("content-type", "text/html");
        }
        String body = req.method().equalsIgnoreCase("POST") ? new String(req.body(), StandardCharsets.UTF_8) : "";
        Map<String, String> headers = new TreeMap<>(String.CASE_INSENSITIVE_ORDER); // names as the JDK's server spells them
        req.headersAll().forEach((name, values) -> headers.put(name.substring(0, 1).toUpperCase(Locale.ROOT) + name.substring(1), values.get(0)));
        IResponse res = handler.Handle(new Request(body, headers, uri.getRawQuery(), uri.getPath()));
        if (res == null || res.getBody() == null) {
            throw new NullPointerException(label() + " returned no " + (res == null ? "response" : "body"));
        }
        String text = res.getBody();
        fnpod.Response answer = new fnpod.Response(text.isEmpty() ? null : text.getBytes(StandardCharsets.UTF_8)).status(res.getStatusCode());
        Map<String, String> fields = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
        if (res.getContentType() != null && !res.getContentType().isEmpty()) {
            fields.put("content-type", res.getContentType());
        }
        fields.putAll(res.getHeaders());
        if (!text.isEmpty()) {
            fields.putIfAbsent("content-type", sniffed(text));
        }
        fields.forEach(answer::header);
        return answer;
    }

    /** The type that a body without one looks like, as of-watchdog says it. */
    private static String sniffed(String body) {
        String start = body.substring(0, Math.min(body.length(), 512));
        if (MARKUP.matcher(start).matches()) {
            return "text/html; charset=utf-8";
        }
        return CONTROL.matcher(start).find() ? "application/octet-stream" : "text/plain; charset=utf-8";
    }
}
