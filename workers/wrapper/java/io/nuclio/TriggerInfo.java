package io.nuclio;

/** Where an event came from. */
public interface TriggerInfo {
    /** Always null. */
    String getClassName();

    /** http, cron and so on. */
    String getKindName();
}
