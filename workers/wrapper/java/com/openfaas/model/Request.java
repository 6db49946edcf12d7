package com.openfaas.model;

import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/** A request of which everything is known when it is made. */
public class Request implements IRequest {
    private final String body;
    private final Map<String, String> headers;
    private final String query;
    private final String path;

    public Request(String body, Map<String, String> headers) {
        this(body, headers, null, null);
    }

    public Request(String body, Map<String, String> headers, String query, String path) {
        this.body = body;
        this.headers = headers;
        this.query = query;
        this.path = path;
    }

    @Override
    public String getBody() {
        return body;
    }

    @Override
    public Map<String, String> getHeaders() {
        return headers;
    }

    @Override
    public String getHeader(String key) {
        return headers.get(key);
    }

    @Override
    public String getQueryRaw() {
        return query;
    }

    @Override
    public Map<String, String> getQuery() {
        Map<String, String> all = new HashMap<>();
        for (String pair : query == null ? new String[0] : query.split("&")) {
            String[] parts = pair.split("=", 2);
            all.put(decoded(parts[0]), parts.length < 2 || parts[1].isEmpty() ? null : decoded(parts[1]));
        }
        return all;
    }

    private static String decoded(String s) {
        return URLDecoder.decode(s, StandardCharsets.UTF_8);
    }

    @Override
    public String getPathRaw() {
        return path;
    }

    @Override
    public Map<String, String> getPath() {
        Map<String, String> all = new HashMap<>();
        String name = "";
        for (String part : path == null || path.isEmpty() ? new String[0] : path.substring(1).split("/")) {
            if (name.isEmpty()) {
                name = part;
            } else {
                all.put(name, part);
                name = "";
            }
        }
        if (!name.isEmpty()) {
            all.put(name, "");
        }
        return all;
    }
}
