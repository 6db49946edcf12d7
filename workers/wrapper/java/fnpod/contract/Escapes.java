package fnpod.contract;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;

/** Texts of a request: bytes, as Latin-1, some of them written as %41. */
final class Escapes {
    private Escapes() {
    }

    /** What the bytes mean. */
    static String unescaped(String text) {
        ByteArrayOutputStream b = new ByteArrayOutputStream(text.length());
        for (int i = 0; i < text.length(); i++) {
            int high = text.charAt(i) == '%' && i + 2 < text.length() ? Character.digit(text.charAt(i + 1), 16) : -1;
            int low = high < 0 ? -1 : Character.digit(text.charAt(i + 2), 16);
            b.write(low < 0 ? text.charAt(i) : high << 4 | low);
            i += low < 0 ? 0 : 2;
        }
        return b.toString(StandardCharsets.UTF_8);
    }
}
