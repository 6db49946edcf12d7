package com.openfaas.model;

import java.util.Map;

/** A request to a function of OpenFaaS. These interfaces are used where the image has none of its own. */
public interface IRequest {
    /** The body as text. */
    String getBody();

    /** All headers, the first value of each. */
    Map<String, String> getHeaders();

    /** One of them, or null. */
    String getHeader(String key);

    /** The query as it came; null without one. */
    String getQueryRaw();

    /** The query parsed. */
    Map<String, String> getQuery();

    /** The path decoded. */
    String getPathRaw();

    /** The parts of the path in pairs: /a/b is b by the name of a. */
    Map<String, String> getPath();
}
