package peer;

import com.xxl.job.core.context.XxlJobContext;
import com.xxl.job.core.context.XxlJobHelper;
import com.xxl.job.core.executor.impl.XxlJobSimpleExecutor;
import com.xxl.job.core.handler.annotation.XxlJob;
import com.xxl.job.core.log.XxlJobFileAppender;
import java.io.File;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.util.List;
import java.util.Map;

/** 2.3.0 and later: annotated methods, XxlJobHelper, the executor without Spring. */
public final class Adapter implements Generation {

    private final XxlJobSimpleExecutor executor = new XxlJobSimpleExecutor();
    private Map<String, Handler> handlers;

    @Override
    public void start(Settings settings, Map<String, Handler> byName) throws Exception {
        handlers = byName;
        keepRetryFilesApart(settings.logPath());
        executor.setAdminAddresses(settings.admin());
        executor.setAccessToken(settings.token());
        executor.setAppname(settings.appname());
        executor.setIp("127.0.0.1");
        executor.setPort(settings.port());
        executor.setLogPath(settings.logPath());
        executor.setXxlJobBeanList(List.of(this));
        executor.start();
    }

    /**
     * 3.3.0 to 3.4.0 put the files of failed callbacks into one fixed directory of the machine, whatever the log
     * path: executors of one test would deliver the results of another. Only this path is moved.
     */
    private static void keepRetryFilesApart(String logPath) throws IllegalAccessException {
        try {
            Field path = XxlJobFileAppender.class.getDeclaredField("callbackLogPath");
            path.setAccessible(true);
            path.set(null, logPath + File.separator + "callbacklogs");
        } catch (NoSuchFieldException e) {
            // 2.x follows the log path by itself
        }
    }

    @Override
    public void destroy() {
        executor.destroy();
    }

    @XxlJob("okHandler")
    public void ok() throws Exception {
        run("okHandler");
    }

    @XxlJob("failHandler")
    public void fail() throws Exception {
        run("failHandler");
    }

    @XxlJob("throwHandler")
    public void raise() throws Exception {
        run("throwHandler");
    }

    @XxlJob("sleepHandler")
    public void sleep() throws Exception {
        run("sleepHandler");
    }

    @XxlJob("napHandler")
    public void nap() throws Exception {
        run("napHandler");
    }

    @XxlJob("flakyHandler")
    public void flaky() throws Exception {
        run("flakyHandler");
    }

    private void run(String name) throws Exception {
        try {
            XxlJobHelper.handleSuccess(handlers.get(name).handle(new Here()));
        } catch (Handler.Failure failure) {
            XxlJobHelper.handleFail(failure.getMessage());
        }
    }

    private static final class Here implements Execution {

        @Override
        public long jobId() {
            return XxlJobHelper.getJobId();
        }

        /** The name of the log file; the method that gives it was renamed in 3.x. */
        @Override
        public long runId() {
            XxlJobContext context = XxlJobContext.getXxlJobContext();
            try {
                Method getter;
                try {
                    getter = XxlJobContext.class.getMethod("getJobLogFileName");
                } catch (NoSuchMethodException e) {
                    getter = XxlJobContext.class.getMethod("getLogFileName");
                }
                String file = new File((String) getter.invoke(context)).getName();
                return Long.parseLong(file.substring(0, file.indexOf('.')));
            } catch (ReflectiveOperationException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        public String param() {
            return XxlJobHelper.getJobParam();
        }

        @Override
        public int shardIndex() {
            return XxlJobHelper.getShardIndex();
        }

        @Override
        public int shardTotal() {
            return XxlJobHelper.getShardTotal();
        }

        @Override
        public void log(String line) {
            XxlJobHelper.log("{}", line);
        }
    }
}
