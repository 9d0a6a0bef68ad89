package peer;

import com.xxl.job.core.biz.model.ReturnT;
import com.xxl.job.core.executor.XxlJobExecutor;
import com.xxl.job.core.handler.IJobHandler;
import com.xxl.job.core.log.XxlJobFileAppender;
import com.xxl.job.core.log.XxlJobLogger;
import com.xxl.job.core.util.ShardingUtil;
import java.io.File;
import java.util.Map;

/** 1.9.0 to 2.2.0: handlers get one parameter and give back a ReturnT; all else lies in thread-locals. */
final class Adapter implements Generation {

    /** 1.9.0 and 1.9.1 fill a MessageFormat, later ones what SLF4J takes. */
    private static final String PATTERN = Reflected.has(IJobHandler.class, "FAIL_RETRY") ? "{0}" : "{}";

    private final XxlJobExecutor executor = new XxlJobExecutor();

    @Override
    public void start(Settings settings, Map<String, Handler> handlers) throws Exception {
        executor.setAdminAddresses(settings.admin());
        executor.setAccessToken(settings.token());
        Reflected.set(executor, settings.appname(), "setAppname", "setAppName");
        executor.setIp("127.0.0.1");
        executor.setPort(settings.port());
        executor.setLogPath(settings.logPath());
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
        public ReturnT<String> execute(String param) throws Exception {
            try {
                return new ReturnT<>(ReturnT.SUCCESS_CODE, handler.handle(new Here(param)));
            } catch (Handler.Failure failure) {
                return new ReturnT<>(ReturnT.FAIL_CODE, failure.getMessage());
            }
        }
    }

    private record Here(String param) implements Execution {

        @Override
        public long jobId() {
            return 0;
        }

        @Override
        public long runId() {
            String file = new File(XxlJobFileAppender.contextHolder.get()).getName();
            return Long.parseLong(file.substring(0, file.indexOf('.')));
        }

        @Override
        public int shardIndex() {
            return ShardingUtil.getShardingVo().getIndex();
        }

        @Override
        public int shardTotal() {
            return ShardingUtil.getShardingVo().getTotal();
        }

        @Override
        public void log(String line) {
            XxlJobLogger.log(PATTERN, line);
        }
    }
}
