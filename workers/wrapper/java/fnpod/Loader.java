package fnpod;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.net.URI;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.jar.Attributes;
import java.util.jar.JarFile;
import javax.tools.DiagnosticCollector;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardLocation;
import javax.tools.ToolProvider;

/** Loader finds the handler in a file of source, which it compiles, or in a jar. */
final class Loader {
    private final File file;
    private final String name;
    private final String contract; // a class in fnpod.contract; empty: the handler is native
    private final Host host;
    private String method = "handle";
    private Call other;            // calls the handler, unless it is native
    private Object instance;
    private Method found;

    Loader(String file, String name, String contract, Host host) {
        this.file = new File(file);
        this.name = name;
        this.contract = contract;
        this.host = host;
    }

    /** The handler as it is told: file and method. */
    String label() {
        return file.getName() + ":" + (other != null ? other.label() : name.isEmpty() ? method : name);
    }

    /** Loads the class and runs init. */
    void load() throws Throwable {
        if (!file.isFile() || !file.canRead()) {
            throw new IOException("cannot read the handler: " + file);
        }
        if (!contract.isEmpty()) {
            loadOther();
            return;
        }
        Class<?> type = file.getName().endsWith(".jar") ? fromJar() : fromSource();
        for (Method m : type.getDeclaredMethods()) {
            if (m.getName().equals(method) && !m.isSynthetic() && (found == null || fits(m) && !fits(found))) {
                found = m;
            }
        }
        if (found == null || !fits(found)) {
            TreeSet<String> there = new TreeSet<>();
            for (Method m : type.getDeclaredMethods()) {
                if (fits(m) && !m.isSynthetic()) {
                    there.add(m.getName());
                }
            }
            throw new NoSuchMethodException(file.getName() + " has no method '" + method + "' that takes a Request, a String, a byte[] or nothing;"
                + " it has " + (there.isEmpty() ? "none at all" : String.join(", ", there)));
        }
        found.setAccessible(true);
        if (!Modifier.isStatic(found.getModifiers())) {
            var constructor = type.getDeclaredConstructor();
            constructor.setAccessible(true);
            instance = unwrapped(() -> constructor.newInstance());
        }
        for (Method m : type.getDeclaredMethods()) {
            if (m.getName().equals("init") && m.getParameterCount() == 0 && !m.equals(found)) {
                m.setAccessible(true);
                unwrapped(() -> m.invoke(instance));
            }
        }
    }

    private static boolean fits(Method m) {
        Class<?>[] takes = m.getParameterTypes();
        return takes.length == 0 || takes.length == 1 && (takes[0] == Request.class || takes[0] == String.class || takes[0] == byte[].class);
    }

    /** Calls the handler. */
    Object call(Request req) throws Throwable {
        if (other != null) {
            return other.call(req);
        }
        Class<?>[] takes = found.getParameterTypes();
        if (takes.length == 0) {
            return unwrapped(() -> found.invoke(instance));
        }
        Object argument = takes[0] == Request.class ? req : takes[0] == String.class ? req.text() : req.body();
        return unwrapped(() -> found.invoke(instance, argument));
    }

    private interface Invocation {
        Object run() throws Exception;
    }

    private static Object unwrapped(Invocation i) throws Throwable {
        try {
            return i.run();
        } catch (InvocationTargetException e) {
            throw e.getCause();
        }
    }

    /** Loads a handler of another platform, beside what calls it: of the jar or file, jars near it, and what the image's class path has. */
    private void loadOther() throws Throwable {
        boolean source = !file.getName().endsWith(".jar");
        File folder = file.getAbsoluteFile().getParentFile();
        List<File> path = new ArrayList<>();
        if (source) {
            path.addAll(jars(folder));
            path.add(folder);
        } else {
            path.add(file);
            path.addAll(jars(new File(folder, "lib")));
        }
        for (String entry : System.getenv().getOrDefault("CLASSPATH", "").split(File.pathSeparator)) {
            if (entry.endsWith("*")) {
                path.addAll(jars(new File(entry.substring(0, entry.length() - 1))));
            } else if (!entry.isEmpty()) {
                path.add(new File(entry));
            }
        }
        List<URL> urls = new ArrayList<>();
        List<String> names = new ArrayList<>();
        for (File f : path) {
            urls.add(f.toURI().toURL());
            names.add(f.getPath());
        }
        Map<String, byte[]> classes = source ? compile(String.join(File.pathSeparator, names)) : Map.of();
        ClassLoader loader = new Beside(urls.toArray(new URL[0]), classes);
        Thread.currentThread().setContextClassLoader(loader);
        String type = name.isEmpty() && source ? called(classes, file.getName().replaceFirst("\\.java$", "")) : name;
        var constructor = Class.forName("fnpod.contract." + contract, true, loader).getConstructor(ClassLoader.class, String.class, Host.class);
        try {
            other = (Call) constructor.newInstance(loader, type, host);
        } catch (InvocationTargetException e) {
            throw e.getCause() instanceof InvocationTargetException ? e.getCause().getCause() : e.getCause();
        }
    }

    private static List<File> jars(File folder) {
        File[] jars = folder.listFiles((dir, n) -> n.endsWith(".jar"));
        Arrays.sort(jars == null ? new File[0] : jars);
        return jars == null ? List.of() : Arrays.asList(jars);
    }

    /** The full name of the class that is called like the file. */
    private String called(Map<String, byte[]> classes, String simple) throws ClassNotFoundException {
        for (String n : classes.keySet()) {
            if (n.equals(simple) || n.endsWith("." + simple)) {
                return n;
            }
        }
        throw new ClassNotFoundException(file.getName() + " has no class " + simple);
    }

    /** The name is Class, Class.method, or nothing: then the manifest says which class. */
    private Class<?> fromJar() throws Exception {
        ClassLoader loader = new URLClassLoader(new URL[] {file.toURI().toURL()}, Loader.class.getClassLoader());
        Thread.currentThread().setContextClassLoader(loader);
        if (name.isEmpty()) {
            try (JarFile jar = new JarFile(file)) {
                Attributes a = jar.getManifest() == null ? new Attributes() : jar.getManifest().getMainAttributes();
                String type = a.getValue("Function-Class") == null ? a.getValue("Main-Class") : a.getValue("Function-Class");
                if (type == null) {
                    throw new ClassNotFoundException(file.getName() + " names no Function-Class in its manifest; say FILE:Class.method");
                }
                return Class.forName(type, true, loader);
            }
        }
        try {
            return Class.forName(name, true, loader);
        } catch (ClassNotFoundException e) {
            int dot = name.lastIndexOf('.');
            if (dot < 0) {
                throw e;
            }
            method = name.substring(dot + 1);
            return Class.forName(name.substring(0, dot), true, loader);
        }
    }

    /** The name is a method of the class that is called like the file. */
    private Class<?> fromSource() throws Exception {
        method = name.isEmpty() ? method : name;
        List<URL> path = new ArrayList<>();
        List<String> classPath = new ArrayList<>();
        File folder = file.getAbsoluteFile().getParentFile();
        for (File jar : jars(folder)) {
            path.add(jar.toURI().toURL());
            classPath.add(jar.getPath());
        }
        path.add(folder.toURI().toURL());
        classPath.add(folder.getPath());
        Map<String, byte[]> classes = compile(String.join(File.pathSeparator, classPath));
        ClassLoader loader = new URLClassLoader(path.toArray(new URL[0]), Loader.class.getClassLoader()) {
            @Override
            protected Class<?> findClass(String n) throws ClassNotFoundException {
                byte[] b = classes.get(n);
                return b == null ? super.findClass(n) : defineClass(n, b, 0, b.length);
            }
        };
        Thread.currentThread().setContextClassLoader(loader);
        return Class.forName(called(classes, file.getName().replaceFirst("\\.java$", "")), true, loader);
    }

    private Map<String, byte[]> compile(String classPath) throws IOException {
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        if (compiler == null) {
            throw new UnsupportedOperationException("a file of source needs a JDK, this is a JRE: serve a jar");
        }
        Map<String, byte[]> classes = new HashMap<>();
        DiagnosticCollector<JavaFileObject> said = new DiagnosticCollector<>();
        try (var standard = compiler.getStandardFileManager(said, null, null)) {
            var options = List.of("-g", "-proc:none", "-nowarn", "-cp", classPath);
            boolean well = compiler.getTask(null, new Memory(standard, classes), said, options, null, standard.getJavaFileObjects(file)).call();
            if (!well) {
                StringBuilder text = new StringBuilder();
                said.getDiagnostics().forEach(d -> text.append(text.length() > 0 ? "\n" : "").append(d));
                throw new Uncompiled(text.toString());
            }
        }
        return classes;
    }

    /** The source cannot be compiled. */
    static final class Uncompiled extends RuntimeException {
        private static final long serialVersionUID = 1;

        Uncompiled(String message) {
            super(message);
        }
    }

    /** Takes compiled classes, and gives ours, which lie in a file that javac cannot open. */
    private static final class Memory extends ForwardingJavaFileManager<JavaFileManager> {
        private final Map<String, byte[]> classes;

        Memory(JavaFileManager standard, Map<String, byte[]> classes) {
            super(standard);
            this.classes = classes;
        }

        @Override
        public JavaFileObject getJavaFileForOutput(Location l, String name, JavaFileObject.Kind kind, FileObject sibling) {
            return new SimpleJavaFileObject(URI.create("memory:///" + name.replace('.', '/') + ".class"), kind) {
                @Override
                public OutputStream openOutputStream() {
                    return new ByteArrayOutputStream() {
                        @Override
                        public void close() {
                            classes.put(name, toByteArray());
                        }
                    };
                }
            };
        }

        @Override
        public Iterable<JavaFileObject> list(Location l, String pack, java.util.Set<JavaFileObject.Kind> kinds, boolean deep) throws IOException {
            List<JavaFileObject> own = new ArrayList<>();
            if (l == StandardLocation.CLASS_PATH) {
                for (String n : OWN.getOrDefault(pack, List.of())) {
                    own.add(new Own(pack + "." + n));
                }
            }
            if (!own.isEmpty() && !pack.equals("fnpod")) { // those of the image come first
                Iterable<JavaFileObject> there = super.list(l, pack, kinds, deep);
                return there.iterator().hasNext() ? there : own;
            }
            return own.isEmpty() ? super.list(l, pack, kinds, deep) : own;
        }

        @Override
        public String inferBinaryName(Location l, JavaFileObject f) {
            return f instanceof Own ? ((Own) f).name : super.inferBinaryName(l, f);
        }
    }

    /** What sources may use of the worker's jar. */
    private static final Map<String, List<String>> OWN = Map.of(
        "fnpod", List.of("Request", "Response"),
        "com.openfaas.model", List.of("AbstractHandler", "IHandler", "IRequest", "IResponse", "Request", "Response"),
        "io.nuclio", List.of("Context", "Event", "EventHandler", "Logger", "Response", "TriggerInfo"));

    private static final class Own extends SimpleJavaFileObject {
        private final String name;

        Own(String name) {
            super(URI.create("memory:///" + name.replace('.', '/') + ".class"), Kind.CLASS);
            this.name = name;
        }

        @Override
        public InputStream openInputStream() {
            return new ByteArrayInputStream(Beside.own(name));
        }
    }
}
