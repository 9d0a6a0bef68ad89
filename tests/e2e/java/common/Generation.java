package peer;

import java.util.Map;

/** One generation of xxl-job-core: how an executor is configured, given handlers, started and stopped. */
interface Generation {

    void start(Settings settings, Map<String, Handler> handlers) throws Exception;

    /** Orderly: takes the registration back. */
    void destroy();
}
