package peer;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** The file tests count executions by: one JSON object a line, written before the handler does anything else. */
final class Counter {

    private final FileChannel file;

    Counter(String path) throws IOException {
        file = FileChannel.open(Path.of(path), StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    void write(String handler, String event, Execution execution) throws IOException {
        String line = "{\"event\":" + quoted(event)
                + ",\"handler\":" + quoted(handler)
                + ",\"jobId\":" + execution.jobId()
                + ",\"runId\":" + execution.runId()
                + ",\"param\":" + quoted(execution.param())
                + ",\"shardIndex\":" + execution.shardIndex()
                + ",\"shardTotal\":" + execution.shardTotal()
                + ",\"startMs\":" + System.currentTimeMillis()
                + ",\"pid\":" + ProcessHandle.current().pid() + "}\n";
        // Not interruptible half way: an interrupt during a channel's write would close it for everybody.
        boolean interrupted = Thread.interrupted();
        try {
            synchronized (file) {
                file.write(ByteBuffer.wrap(line.getBytes(StandardCharsets.UTF_8)));
            }
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    /** ASCII only: each UTF-16 unit outside it becomes an escape. */
    private static String quoted(String text) {
        if (text == null) {
            return "null";
        }
        StringBuilder out = new StringBuilder("\"");
        for (char unit : text.toCharArray()) {
            if (unit < 0x20 || unit > 0x7e || unit == '"' || unit == '\\') {
                out.append(String.format("\\u%04x", (int) unit));
            } else {
                out.append(unit);
            }
        }
        return out.append('"').toString();
    }
}
