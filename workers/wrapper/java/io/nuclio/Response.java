package io.nuclio;

import java.util.Map;

/** An answer: 200, text/plain and empty, until it is said otherwise. */
public class Response {
    private long statusCode = 200;
    private String contentType = "text/plain";
    private byte[] body = {};
    private Map<String, Object> headers = Map.of();

    public Response setBody(byte[] body) {
        this.body = body;
        return this;
    }

    public Response setBody(String body) {
        this.body = body.getBytes();
        return this;
    }

    public byte[] getBody() {
        return body;
    }

    public Response setStatusCode(long statusCode) {
        this.statusCode = statusCode;
        return this;
    }

    public long getStatusCode() {
        return statusCode;
    }

    public Response setHeaders(Map<String, Object> headers) {
        this.headers = headers;
        return this;
    }

    public Map<String, Object> getHeaders() {
        return headers;
    }

    public Response setContentType(String contentType) {
        this.contentType = contentType;
        return this;
    }

    public String getContentType() {
        return contentType;
    }
}
