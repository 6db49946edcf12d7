package com.openfaas.model;

/** What functions extend that are found as a service. */
public abstract class AbstractHandler implements IHandler {
    @Override
    public abstract IResponse Handle(IRequest request);
}
