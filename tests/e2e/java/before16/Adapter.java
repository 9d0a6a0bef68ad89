package peer;

import com.xxl.job.core.executor.jetty.XxlJobExecutor;
import com.xxl.job.core.handler.IJobHandler;
import com.xxl.job.core.log.XxlJobFileAppender;
import com.xxl.job.core.router.HandlerRouter;
import java.io.File;
import java.util.Map;
import org.slf4j.LoggerFactory;

/** 1.4 and 1.5: a handler says nothing but whether it has thrown, and whatever its thread logs is its log. */
final class Adapter implements Generation {

    private final XxlJobExecutor executor = new XxlJobExecutor();

    @Override
    public void start(Settings settings, Map<String, Handler> handlers) throws Exception {
        Reflected.set(executor, settings.appname(), "setAppName");
        Reflected.set(executor, "127.0.0.1", "setIp");
        Reflected.registerNowhere(executor);
        executor.setPort(settings.port());
        handlers.forEach((name, handler) -> HandlerRouter.registJobHandler(name, new Wrapped(handler)));
        executor.start();
    }

    @Override
    public void destroy() {
        executor.destroy();
    }

    private static final class Wrapped extends IJobHandler {

        private final Handler handler;

        Wrapped(Handler handler) {
            this.handler = handler;
        }

        @Override
        public void execute(String... params) throws Exception {
            handler.handle(new Here(params == null ? "" : String.join(",", params)));
        }
    }

    private record Here(String param) implements Execution {

        @Override
        public long jobId() {
            return 0;
        }

        @Override
        public long runId() {
            return Long.parseLong(
                    new File(XxlJobFileAppender.contextHolder.get()).getName().replace(".log", ""));
        }

        @Override
        public int shardIndex() {
            return -1;
        }

        @Override
        public int shardTotal() {
            return -1;
        }

        @Override
        public void log(String line) {
            LoggerFactory.getLogger("job").info(line);
        }
    }
}
