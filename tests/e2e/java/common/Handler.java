package peer;

/** Code of one job. */
interface Handler {

    /** The message of a success; any other exception than Failure goes to xxl-job-core as it is. */
    String handle(Execution execution) throws Exception;

    /** A failure the handler reports itself. */
    final class Failure extends Exception {
        private static final long serialVersionUID = 1L;

        Failure(String message) {
            super(message);
        }
    }
}
