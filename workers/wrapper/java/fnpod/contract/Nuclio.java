package fnpod.contract;

import fnpod.Call;
import fnpod.Host;
import fnpod.Request;
import io.nuclio.Context;
import io.nuclio.EventHandler;
import io.nuclio.Logger;
import io.nuclio.Response;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;

/** Calls handlers of Nuclio with context and event, as Nuclio's own wrapper does. */
public final class Nuclio implements Call {
    private static final List<String> LEVELS = List.of("debug", "info", "warn", "error");
    private static final int MOST_FIELD = 4096; // characters of the field that brings log lines to the client
    private static final Pattern TOKEN = Pattern.compile("[!#$%&'*+\\-.^_`|~0-9a-z]+");
    private static final Pattern CONTROL = Pattern.compile("[\\x00-\\x08\\x0a-\\x1f\\x7f]");
    private static final Set<String> UNSENT = Set.of("content-length", "transfer-encoding", "connection", "date", "keep-alive", "upgrade", "trailer", "te");

    private final Host host;
    private final boolean processor; // we take the place of Nuclio's processor, and say all that it says
    private final EventHandler handler;
    private final Log log;
    private final Context context;

    /** Finds the class with that name. */
    public Nuclio(ClassLoader loader, String name, Host host) throws ReflectiveOperationException {
        this.host = host;
        processor = host.setting("NUCLIO_PLATFORM") != null;
        log = new Log();
        context = () -> log;
        if (name.isEmpty()) {
            throw new ClassNotFoundException("which class is the handler? say FILE:Class");
        }
        Class<?> type = Class.forName(name, true, loader);
        if (!EventHandler.class.isAssignableFrom(type)) {
            throw new ClassCastException(name + " is no io.nuclio.EventHandler");
        }
        handler = (EventHandler) type.getConstructor().newInstance();
    }

    @Override
    public String label() {
        return handler.getClass().getName();
    }

    @Override
    public Object call(Request req) throws Exception {
        RequestEvent event;
        try {
            event = new RequestEvent(req, host);
        } catch (IllegalArgumentException | java.time.DateTimeException e) {
            return new fnpod.Response("Failed to wrap structured cloud event").status(500);
        }
        String level = req.header("x-nuclio-log-level");
        log.begin(level, req.scheme());
        fnpod.Response answer;
        try {
            answer = answer(handler.handleEvent(context, event));
        } catch (Exception e) {
            if (!processor) {
                throw e;
            }
            StringWriter text = new StringWriter();
            text.append("Error in handler: " + e + "\n");
            e.printStackTrace(new PrintWriter(text, true));
            answer = new fnpod.Response(text.toString()).status(500).header("content-type", "text/plain");
        }
        String lines = log.end();
        if (lines != null && lines.length() >= MOST_FIELD) {
            log.warn("Logs are too long for a field of the answer");
        } else if (lines != null) {
            answer.header("x-nuclio-logs", lines);
        }
        return answer;
    }

    /** What can be sent of a response. */
    private static fnpod.Response answer(Response r) {
        if (r == null) {
            throw new NullPointerException("the handler returned null; expected a Response");
        }
        long status = r.getStatusCode() == 0 ? 200 : r.getStatusCode();
        if (status < 200 || status > 599) {
            throw new IllegalArgumentException("status " + status + " cannot be sent: there are 200 to 599");
        }
        byte[] body = r.getBody();
        fnpod.Response answer = new fnpod.Response(body == null || body.length == 0 ? null : body).status((int) status);
        String type = r.getContentType() == null ? "" : r.getContentType();
        boolean typed = !type.isEmpty();
        for (Map.Entry<String, Object> h : (r.getHeaders() == null ? Map.<String, Object>of() : r.getHeaders()).entrySet()) {
            String name = String.valueOf(h.getKey()).toLowerCase(Locale.ROOT);
            boolean ours = name.equals("content-type");
            if (h.getValue() instanceof String && TOKEN.matcher(name).matches() && !UNSENT.contains(name) && !(ours && !type.isEmpty())) {
                answer.header(name, clean((String) h.getValue()));
                typed |= ours;
            }
        }
        return typed && type.isEmpty() ? answer : answer.header("content-type", typed ? clean(type) : "text/plain; charset=utf-8");
    }

    /** A value without line breaks and other control characters, as bytes. */
    private static String clean(String value) {
        byte[] b = CONTROL.matcher(value).replaceAll(" ").trim().getBytes(StandardCharsets.UTF_8);
        return new String(b, StandardCharsets.ISO_8859_1);
    }

    /** The logger. Its lines go to the log, and to the client that has asked for them. */
    private final class Log implements Logger {
        private final String name = "processor." + or("NUCLIO_TRIGGER_KIND", "shared") + ".w" + or("INDEX", "0") + ".java.logger";
        private List<Map<String, Object>> lines; // of the event in progress, if its client has asked for them; guarded by this
        private int least;
        private String trigger;

        private String or(String setting, String other) {
            String value = host.setting(setting);
            return value == null || value.isEmpty() ? other : value;
        }

        synchronized void begin(String level, String scheme) {
            lines = level == null ? null : new ArrayList<>();
            least = level == null ? 0 : Math.max(LEVELS.indexOf(level.toLowerCase(Locale.ROOT)), 0);
            trigger = scheme.substring(scheme.indexOf('/') + 1);
        }

        /** Returns the lines as JSON in ASCII. */
        synchronized String end() {
            if (lines == null) {
                return null;
            }
            StringBuilder text = new StringBuilder();
            for (char c : host.json(lines).toCharArray()) {
                text.append(c > '~' ? String.format("\\u%04x", (int) c) : "" + c);
            }
            lines = null;
            return text.toString();
        }

        private void say(int level, String message, Object... vars) {
            List<String> pairs = new ArrayList<>();
            if (processor) {
                pairs.addAll(List.of("logger", name));
            }
            Map<String, Object> record = new LinkedHashMap<>();
            record.put("level", LEVELS.get(level));
            record.put("time", System.currentTimeMillis());
            record.put("name", trigger);
            record.put("message", message);
            if (vars.length % 2 != 0) {
                System.err.println("names and values of a line of the log are no pairs: " + Arrays.toString(vars));
                vars = new Object[0];
            }
            for (int i = 0; i < vars.length; i += 2) {
                pairs.add(String.valueOf(vars[i]));
                pairs.add(processor ? host.json(vars[i + 1]) : String.valueOf(vars[i + 1]));
                record.put(String.valueOf(vars[i]), vars[i + 1] instanceof Number || vars[i + 1] instanceof Boolean ? vars[i + 1] : String.valueOf(vars[i + 1]));
            }
            synchronized (this) {
                if (lines != null && level >= least) {
                    lines.add(record);
                }
            }
            host.log(level, message, pairs.toArray(new String[0]));
        }

        private String text(String format, Object... args) {
            return String.format(format, args);
        }

        @Override
        public void error(String format, Object... args) {
            say(3, text(format, args));
        }

        @Override
        public void warn(String format, Object... args) {
            say(2, text(format, args));
        }

        @Override
        public void info(String format, Object... args) {
            say(1, text(format, args));
        }

        @Override
        public void debug(String format, Object... args) {
            say(0, text(format, args));
        }

        @Override
        public void errorWith(String message, Object... vars) {
            say(3, message, vars);
        }

        @Override
        public void warnWith(String message, Object... vars) {
            say(2, message, vars);
        }

        @Override
        public void infoWith(String message, Object... vars) {
            say(1, message, vars);
        }

        @Override
        public void debugWith(String message, Object... vars) {
            say(0, message, vars);
        }
    }
}
