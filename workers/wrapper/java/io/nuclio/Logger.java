package io.nuclio;

/** The log: texts with format and arguments, or texts with names and values in turn. */
public interface Logger {
    void error(String format, Object... args);

    void warn(String format, Object... args);

    void info(String format, Object... args);

    void debug(String format, Object... args);

    void errorWith(String message, Object... vars);

    void warnWith(String message, Object... vars);

    void infoWith(String message, Object... vars);

    void debugWith(String message, Object... vars);
}
