package fnpod;

import java.net.URLDecoder;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** One request. Its parts are decoded when they are first asked for. One thread at a time may use it. */
public final class Request {
    private static final int FIRST = 6; // strings before the fields
    private static final Pattern CHARSET = Pattern.compile("charset\\s*=\\s*\"?([^\\s;\"]+)", Pattern.CASE_INSENSITIVE);

    private final byte[] meta;
    private final int number;
    private final long at = System.currentTimeMillis();
    private byte[] body;
    private String[] fields;
    private Map<String, String> headers;

    Request(byte[] meta, byte[] body, int number) {
        this.meta = meta;
        this.body = body;
        this.number = number;
    }

    private String field(int i) {
        if (fields == null) {
            fields = new String(meta, StandardCharsets.ISO_8859_1).split("\0", -1);
        }
        return fields[i];
    }

    /** GET, POST and so on. */
    public String method() {
        return field(0);
    }

    /** The path as it came, undecoded. */
    public String path() {
        return field(1);
    }

    /** The query as it came, without the question mark. */
    public String query() {
        return field(2);
    }

    /** http or https. */
    public String scheme() {
        return field(3).split(" ", 2)[0];
    }

    /** The host the client named, with its port if it is not the usual one. */
    public String host() {
        return field(3).substring(scheme().length() + 1);
    }

    /** The client's address. */
    public String peer() {
        return field(4);
    }

    /** The request's id, as the log has it. */
    public String id() {
        String id = header("x-request-id");
        return id == null ? Integer.toUnsignedString(number) : id;
    }

    /** The body; changes of the array are the caller's own affair. */
    public byte[] body() {
        return body;
    }

    /** The body as text, in the charset of its content type, else UTF-8. */
    public String text() {
        String type = header("content-type");
        Matcher m = CHARSET.matcher(type == null ? "" : type);
        return new String(body, m.find() ? Charset.forName(m.group(1)) : StandardCharsets.UTF_8);
    }

    /** The body parsed as JSON: Map, List, String, Long, Double, Boolean or null; IllegalArgumentException when it is not. */
    public Object json() {
        return Json.parse(new String(body, StandardCharsets.UTF_8));
    }

    /** A header by its name in any case, repeated ones joined; null when it is not there. */
    public String header(String name) {
        return headers().get(name.toLowerCase(java.util.Locale.ROOT));
    }

    /** All headers, names in lower case, repeated ones joined. */
    public Map<String, String> headers() {
        if (headers == null) {
            headers = new LinkedHashMap<>();
            headersAll().forEach((name, values) -> headers.put(name, String.join(name.equals("cookie") ? "; " : ", ", values)));
        }
        return headers;
    }

    /** All values of each name, in order. */
    public Map<String, List<String>> headersAll() {
        field(0);
        Map<String, List<String>> all = new LinkedHashMap<>();
        for (int i = FIRST; i + 1 < fields.length; i += 2) {
            all.computeIfAbsent(fields[i], name -> new ArrayList<>(1)).add(fields[i + 1]);
        }
        return all;
    }

    /** The query parsed. */
    public Map<String, List<String>> args() {
        Map<String, List<String>> args = new LinkedHashMap<>();
        for (String part : query().split("&")) {
            if (!part.isEmpty()) {
                String[] pair = part.split("=", 2);
                args.computeIfAbsent(decoded(pair[0]), name -> new ArrayList<>(1)).add(pair.length > 1 ? decoded(pair[1]) : "");
            }
        }
        return args;
    }

    private static String decoded(String s) {
        return URLDecoder.decode(s, StandardCharsets.UTF_8);
    }

    /** When the answer is wanted; null without a deadline. */
    public Instant deadline() {
        return field(5).isEmpty() ? null : Instant.ofEpochMilli(at + Long.parseLong(field(5)));
    }

    /** The time until the deadline, never below 0; null without one. */
    public Duration remaining() {
        if (deadline() == null) {
            return null;
        }
        Duration left = Duration.between(Instant.now(), deadline());
        return left.isNegative() ? Duration.ZERO : left;
    }

    @Override
    public String toString() {
        return Arrays.asList(method(), path()).toString();
    }
}
