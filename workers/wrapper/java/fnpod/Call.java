package fnpod;

/** Calls a handler as another platform does. It is loaded beside the handler, see Beside. */
public interface Call {
    /** Returns the answer of the handler, which is anything that a native one may return. */
    Object call(Request req) throws Throwable;

    /** The name of the handler's class. */
    String label();
}
