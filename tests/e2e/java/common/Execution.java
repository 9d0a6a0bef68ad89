package peer;

/** What a handler sees of one execution, whatever the generation of xxl-job-core. */
interface Execution {

    /** 0 where the generation does not tell its handlers. */
    long jobId();

    /** The scheduler's log id. */
    long runId();

    String param();

    int shardIndex();

    int shardTotal();

    /** One line of the job's log. */
    void log(String line);
}
