package io.nuclio;

/** A function of Nuclio. These interfaces are used where the function's jar has none of its own. */
public interface EventHandler {
    Response handleEvent(Context context, Event event);
}
