package com.openfaas.model;

import java.util.Map;

/** An answer of a function of OpenFaaS. */
public interface IResponse {
    String getBody();

    void setBody(String body);

    String getHeader(String key);

    /** Sets a header, or removes it with null. */
    void setHeader(String key, String value);

    Map<String, String> getHeaders();

    void setContentType(String contentType);

    String getContentType();

    void setStatusCode(int code);

    int getStatusCode();
}
