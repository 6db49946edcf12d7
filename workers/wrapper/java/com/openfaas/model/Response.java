package com.openfaas.model;

import java.util.HashMap;
import java.util.Map;

/** An answer: 200 and empty, until it is said otherwise. */
public class Response implements IResponse {
    private int status = 200;
    private String body = "";
    private String contentType = "";
    private final Map<String, String> headers = new HashMap<>();

    @Override
    public int getStatusCode() {
        return status;
    }

    @Override
    public void setStatusCode(int code) {
        status = code;
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
    public void setHeader(String key, String value) {
        if (value == null) {
            headers.remove(key);
        } else {
            headers.put(key, value);
        }
    }

    @Override
    public String getContentType() {
        return contentType;
    }

    @Override
    public void setContentType(String contentType) {
        this.contentType = contentType;
    }

    @Override
    public String getBody() {
        return body;
    }

    @Override
    public void setBody(String body) {
        this.body = body;
    }
}
