package fnpod;

/** What the worker does for the classes in fnpod.contract. Any thread may use it. */
public interface Host {
    /** A setting of the worker, FNPOD_WORKER_ and a name; null without it. */
    String setting(String name);

    /** Sends a line of the log, with names and values in turn: 0 is debug, 1 info, 2 warn, 3 error. */
    void log(int level, String message, String... pairs);

    /** A value as JSON; as a text if it is none of JSON. */
    String json(Object value);

    /** What JSON says; IllegalArgumentException if it is none. */
    Object parse(String json);
}
