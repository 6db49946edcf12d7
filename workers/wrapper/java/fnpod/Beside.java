package fnpod;

import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.Map;

/**
 * Loads the handler of another platform and, beside it, what calls it: so both mean the same interfaces of the platform. Those
 * come from the image if it has them, else from the worker's jar.
 */
final class Beside extends URLClassLoader {
    private static final String[] OURS = {"fnpod.contract.", "com.openfaas.model.", "io.nuclio."};

    private final Map<String, byte[]> compiled;

    Beside(URL[] path, Map<String, byte[]> compiled) {
        super(path, Beside.class.getClassLoader());
        this.compiled = compiled;
    }

    @Override
    protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
        for (String prefix : OURS) {
            if (name.startsWith(prefix)) {
                synchronized (getClassLoadingLock(name)) {
                    Class<?> c = findLoadedClass(name);
                    return c == null ? findClass(name) : c;
                }
            }
        }
        return super.loadClass(name, resolve);
    }

    @Override
    protected Class<?> findClass(String name) throws ClassNotFoundException {
        byte[] b = compiled.get(name);
        if (b != null) {
            return defineClass(name, b, 0, b.length);
        }
        try {
            return super.findClass(name);
        } catch (ClassNotFoundException e) {
            b = own(name);
            if (b == null) {
                throw e;
            }
            return defineClass(name, b, 0, b.length);
        }
    }

    /** A class of the worker's jar. */
    static byte[] own(String name) {
        try (InputStream in = Beside.class.getResourceAsStream("/" + name.replace('.', '/') + ".class")) {
            return in == null ? null : in.readAllBytes();
        } catch (IOException e) {
            return null;
        }
    }
}
