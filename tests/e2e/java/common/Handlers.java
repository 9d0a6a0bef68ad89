package peer;

import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** The jobs of the test executor; tests/e2e/pyxxl_program.py has the same ones. */
final class Handlers {

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

    private String sleep(Execution execution) throws Exception {
        long millis = Long.parseLong(execution.param().trim());
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
