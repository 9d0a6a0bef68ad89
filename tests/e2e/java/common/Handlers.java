package peer;

import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** The jobs of the test executor; tests/e2e/pyxxl_program.py has the same ones. */
final class Handlers {

    private static final long NAP_MS = 3_000;
    private static final long LONG_MS = 60_000;

    private final Counter counter;
    private final Set<String> failedOnce = ConcurrentHashMap.newKeySet();

    Handlers(Counter counter) {
        this.counter = counter;
    }

    Map<String, Handler> byName() {
        return Map.of(
                "okHandler", counted("okHandler", this::ok),
                "failHandler", counted("failHandler", this::fail),
                "throwHandler", counted("throwHandler", this::raise),
                "sleepHandler", counted("sleepHandler", this::sleep),
                "napHandler", counted("napHandler", this::nap),
                "flakyHandler", counted("flakyHandler", this::flaky));
    }

    private Handler counted(String name, Handler handler) {
        return execution -> {
            counter.write(name, "start", execution);
            return handler.handle(execution);
        };
    }

    private String ok(Execution execution) {
        execution.log("param: " + execution.param());
        execution.log("shard " + execution.shardIndex() + " of " + execution.shardTotal());
        execution.log("text: 任务执行中 😀🚀 <b>bold</b> & \"quoted\"");
        for (int line = 1; line <= 5; line++) {
            execution.log("step " + line);
        }
        execution.log("last line");
        return "done " + execution.param();
    }

    private String fail(Execution execution) throws Handler.Failure {
        execution.log("about to fail");
        throw new Handler.Failure("failed on purpose: " + execution.param());
    }

    private String raise(Execution execution) {
        execution.log("about to throw");
        throw new IllegalStateException("thrown on purpose: " + execution.param());
    }

    /** For releases that break on any parameter: as long as their tests need. */
    private String nap(Execution execution) throws Exception {
        execution.log("napping");
        Thread.sleep(NAP_MS);
        counter.write("napHandler", "end", execution);
        return "napped";
    }

    private String sleep(Execution execution) throws Exception {
        String param = execution.param();
        long millis = param == null || param.isBlank() ? LONG_MS : Long.parseLong(param.trim());
        execution.log("sleeping " + millis);
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            counter.write("sleepHandler", "interrupt", execution);
            throw e;
        }
        counter.write("sleepHandler", "end", execution);
        return "slept " + millis;
    }

    private String flaky(Execution execution) throws Handler.Failure {
        if (failedOnce.add(String.valueOf(execution.param()))) {
            execution.log("failing the first time");
            throw new Handler.Failure("first time: " + execution.param());
        }
        execution.log("better now");
        return "second time: " + execution.param();
    }
}
