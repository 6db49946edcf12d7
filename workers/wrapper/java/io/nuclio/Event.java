package io.nuclio;

import java.util.Date;
import java.util.Map;

/** An event. Getters of one header or field take its exact name; those of numbers give 0 for what is none. */
public interface Event {
    String getID();

    TriggerInfo getTriggerInfo();

    String getContentType();

    byte[] getBody();

    /** The body, or what a structured cloud event has in its place. */
    Object getBodyObject();

    Object getHeader(String key);

    String getHeaderString(String key);

    byte[] getHeaderBytes(String key);

    long getHeaderLong(String key);

    Map<String, Object> getHeaders();

    Object getField(String key);

    String getFieldString(String key);

    byte[] getFieldBytes(String key);

    long getFieldLong(String key);

    Map<String, Object> getFields();

    Date getTimestamp();

    String getPath();

    String getURL();

    String getMethod();

    long getShardID();

    long getTotalNumShards();

    String getType();

    String getTypeVersion();

    String getVersion();
}
