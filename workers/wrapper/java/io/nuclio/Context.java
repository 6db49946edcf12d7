package io.nuclio;

/** What a function has besides the event. */
public interface Context {
    Logger getLogger();
}
