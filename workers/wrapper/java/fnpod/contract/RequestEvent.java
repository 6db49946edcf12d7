package fnpod.contract;

import fnpod.Host;
import fnpod.Request;
import io.nuclio.Event;
import io.nuclio.TriggerInfo;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Date;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;

/** An event of a request. */
final class RequestEvent implements Event {
    private final Map<String, Object> fields = new TreeMap<>();
    private Map<String, Object> headers = new TreeMap<>();
    private String id = UUID.randomUUID().toString();
    private String contentType;
    private final String method;
    private final String path;
    private Object body;
    private Date timestamp;
    private String kind;
    private String type = "";
    private String typeVersion = "";
    private String version = "";

    RequestEvent(Request req, Host host) {
        req.headersAll().forEach((name, values) ->
            headers.put(canonical(name), wire(name.equals("cookie") ? String.join("; ", values) : values.get(values.size() - 1))));
        for (String pair : req.query().split("&")) {
            if (!pair.isEmpty()) {
                String[] parts = pair.replace('+', ' ').split("=", 2);
                fields.put(unescaped(parts[0]), parts.length < 2 ? "" : unescaped(parts[1]));
            }
        }
        method = wire(req.method());
        path = path(req.path());
        body = req.body();
        contentType = text(headers.get("Content-Type"));
        kind = req.scheme().contains("/") ? req.scheme().substring(0, req.scheme().indexOf('/')) : "http";
        timestamp = new Date(kind.equals("cron") ? 0 : System.currentTimeMillis() / 1000 * 1000);
        if (contentType.startsWith("application/cloudevents")) {
            structured(host.parse(new String(req.body(), StandardCharsets.UTF_8)));
        } else if (headers.containsKey("Ce-Cloudeventsversion")) {
            id = text(headers.get("Ce-Eventid"));
            kind = text(headers.get("Ce-Source"));
            type = text(headers.get("Ce-Eventtype"));
            typeVersion = text(headers.get("Ce-Eventtypeversion"));
            version = text(headers.get("Ce-Cloudeventsversion"));
            try {
                timestamp = time(text(headers.get("Ce-Eventtime")));
            } catch (java.time.DateTimeException e) {
                timestamp = new Date(0);
            }
        }
    }

    /** Takes a cloud event of draft 0.1 out of the body. */
    @SuppressWarnings("unchecked")
    private void structured(Object json) {
        if (!(json instanceof Map)) {
            throw new IllegalArgumentException("no object");
        }
        Map<String, Object> facts = (Map<String, Object>) json;
        id = text(facts.get("eventID"));
        kind = text(facts.get("source"));
        timestamp = time(text(facts.get("eventTime")));
        contentType = text(facts.get("contentType"));
        type = text(facts.get("eventType"));
        typeVersion = text(facts.get("eventTypeVersion"));
        version = text(facts.get("cloudEventsVersion"));
        headers = facts.get("extensions") instanceof Map ? (Map<String, Object>) facts.get("extensions") : new TreeMap<>();
        Object data = facts.get("data");
        body = data instanceof String ? ((String) data).getBytes(StandardCharsets.UTF_8) : data;
    }

    private static String text(Object value) {
        return value == null ? "" : value.toString();
    }

    private static Date time(String text) {
        return new Date(text.isEmpty() ? 0 : OffsetDateTime.parse(text).toEpochSecond() * 1000);
    }

    private static String canonical(String name) {
        StringBuilder b = new StringBuilder(name.toLowerCase(Locale.ROOT));
        for (int i = 0; i < b.length(); i++) {
            if (i == 0 || b.charAt(i - 1) == '-') {
                b.setCharAt(i, Character.toUpperCase(b.charAt(i)));
            }
        }
        return b.toString();
    }

    /** Text came as bytes in Latin-1; the handler gets what they mean. */
    private static String wire(String text) {
        return new String(text.getBytes(StandardCharsets.ISO_8859_1), StandardCharsets.UTF_8);
    }

    /** What bytes mean of which some are written as %41. */
    private static String unescaped(String text) {
        ByteArrayOutputStream b = new ByteArrayOutputStream(text.length());
        for (int i = 0; i < text.length(); i++) {
            int high = text.charAt(i) == '%' && i + 2 < text.length() ? Character.digit(text.charAt(i + 1), 16) : -1;
            int low = high < 0 ? -1 : Character.digit(text.charAt(i + 2), 16);
            b.write(low < 0 ? text.charAt(i) : high << 4 | low);
            i += low < 0 ? 0 : 2;
        }
        return b.toString(StandardCharsets.UTF_8);
    }

    private static String path(String path) {
        List<String> kept = new ArrayList<>();
        String[] parts = unescaped(path).split("/", -1);
        for (String part : parts) {
            if (part.equals("..") && !kept.isEmpty()) {
                kept.remove(kept.size() - 1);
            } else if (!part.isEmpty() && !part.equals(".") && !part.equals("..")) {
                kept.add(part);
            }
        }
        boolean open = List.of("", ".", "..").contains(parts[parts.length - 1]);
        return "/" + String.join("/", kept) + (open && !kept.isEmpty() ? "/" : "");
    }

    @Override
    public String getID() {
        return id;
    }

    @Override
    public TriggerInfo getTriggerInfo() {
        return new TriggerInfo() {
            @Override
            public String getClassName() {
                return null;
            }

            @Override
            public String getKindName() {
                return kind;
            }
        };
    }

    @Override
    public String getContentType() {
        return contentType;
    }

    @Override
    public byte[] getBody() {
        return body == null || body instanceof byte[] ? (byte[]) body : body.toString().getBytes(StandardCharsets.UTF_8);
    }

    @Override
    public Object getBodyObject() {
        return body;
    }

    @Override
    public Object getHeader(String key) {
        return headers.get(key);
    }

    @Override
    public String getHeaderString(String key) {
        return string(headers.get(key));
    }

    @Override
    public byte[] getHeaderBytes(String key) {
        return bytes(headers.get(key));
    }

    @Override
    public long getHeaderLong(String key) {
        return number(headers.get(key));
    }

    @Override
    public Map<String, Object> getHeaders() {
        return headers;
    }

    @Override
    public Object getField(String key) {
        return fields.get(key);
    }

    @Override
    public String getFieldString(String key) {
        return string(fields.get(key));
    }

    @Override
    public byte[] getFieldBytes(String key) {
        return bytes(fields.get(key));
    }

    @Override
    public long getFieldLong(String key) {
        return number(fields.get(key));
    }

    private static String string(Object value) {
        return value instanceof String ? (String) value : null;
    }

    private static byte[] bytes(Object value) {
        return value instanceof String ? ((String) value).getBytes(StandardCharsets.UTF_8) : null;
    }

    private static long number(Object value) {
        try {
            return value instanceof Number ? ((Number) value).longValue() : Long.parseLong(text(value));
        } catch (NumberFormatException e) {
            return 0;
        }
    }

    @Override
    public Map<String, Object> getFields() {
        return fields;
    }

    @Override
    public Date getTimestamp() {
        return timestamp;
    }

    @Override
    public String getPath() {
        return path;
    }

    @Override
    public String getURL() {
        return "";
    }

    @Override
    public String getMethod() {
        return method;
    }

    @Override
    public long getShardID() {
        return -1;
    }

    @Override
    public long getTotalNumShards() {
        return 0;
    }

    @Override
    public String getType() {
        return type;
    }

    @Override
    public String getTypeVersion() {
        return typeVersion;
    }

    @Override
    public String getVersion() {
        return version;
    }
}
