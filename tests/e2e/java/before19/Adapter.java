package peer;

import com.xxl.job.core.biz.model.ReturnT;
import com.xxl.job.core.executor.XxlJobExecutor;
import com.xxl.job.core.handler.IJobHandler;
import com.xxl.job.core.log.XxlJobFileAppender;
import java.io.File;
import java.lang.reflect.Method;
import java.util.Map;
import org.slf4j.LoggerFactory;

/**
 * 1.6.0 to 1.8.2: handlers get their parameters as an array. From 1.7.2 on an executor registers with the admin, from
 * 1.8.1 on there is a token and a broadcast.
 */
final class Adapter implements Generation {

    private final XxlJobExecutor executor = new XxlJobExecutor();

    @Override
    public void start(Settings settings, Map<String, Handler> handlers) throws Exception {
        Reflected.set(executor, settings.admin(), "setAdminAddresses");
        Reflected.set(executor, settings.token(), "setAccessToken");
        Reflected.set(executor, settings.logPath(), "setLogPath");
        executor.setAppName(settings.appname());
        executor.setIp("127.0.0.1");
        Reflected.registerNowhere(executor);
        executor.setPort(settings.port());
        handlers.forEach((name, handler) -> XxlJobExecutor.registJobHandler(name, new Wrapped(handler)));
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
        public ReturnT<String> execute(String... params) throws Exception {
            try {
                return new ReturnT<>(ReturnT.SUCCESS_CODE, handler.handle(new Here(params == null ? "" : String.join(",", params))));
            } catch (Handler.Failure failure) {
                return new ReturnT<>(ReturnT.FAIL_CODE, failure.getMessage());
            }
        }
    }

    private record Here(String param) implements Execution {

        private static final String SHARDING = "com.xxl.job.core.util.ShardingUtil";

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
            return Reflected.number(SHARDING, "getShardingVo", "getIndex", -1);
        }

        @Override
        public int shardTotal() {
            return Reflected.number(SHARDING, "getShardingVo", "getTotal", -1);
        }

        @Override
        public void log(String line) {
            try {
                for (Method method : Class.forName("com.xxl.job.core.log.XxlJobLogger").getMethods()) {
                    if (method.getName().equals("log") && method.getParameterTypes()[0] == String.class) {
                        if (method.getParameterCount() == 1) {
                            method.invoke(null, line);
                        } else {
                            method.invoke(null, "{0}", new Object[] {line});
                        }
                        return;
                    }
                }
            } catch (ClassNotFoundException e) {
                LoggerFactory.getLogger("job").info(line); // 1.6: whatever the thread logs
            } catch (ReflectiveOperationException e) {
                throw new IllegalStateException(e);
            }
        }
    }
}
