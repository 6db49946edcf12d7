package com.openfaas.model;

/** A function of OpenFaaS. */
public interface IHandler {
    IResponse Handle(IRequest request);
}
