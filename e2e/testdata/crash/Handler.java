import java.io.FileOutputStream;
import java.util.ArrayList;
import java.util.List;

/** Ways to fail, by path. */
public class Handler {
    static void signal(String name) throws Exception {
        new ProcessBuilder("kill", "-" + name, "" + ProcessHandle.current().pid()).start().waitFor();
        Thread.sleep(10000);
    }

    public static String handle(fnpod.Request req) throws Exception {
        switch (req.path()) {
            case "/raise": throw new IllegalStateException("the secret reason");
            case "/exit": System.exit(3);
            case "/_exit": Runtime.getRuntime().halt(3);
            case "/bomb": new ProcessBuilder("sh", "bomb.sh").start().waitFor(); break;
            case "/segv": signal("SEGV"); break;
            case "/kill": signal("KILL"); break;
            case "/loop": for (;;);
            case "/stdout": System.out.close(); break;
            case "/garbage":
                try (FileOutputStream out = new FileOutputStream("/proc/self/fd/4")) {
                    out.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".getBytes());
                }
                break;
            case "/log": System.out.println("x".repeat(1000000)); break;
            case "/hog":
                for (List<byte[]> all = new ArrayList<>();;) {
                    all.add(new byte[10000000]);
                }
        }
        return "hello";
    }
}
