package peer;

/** An executor of our own on the released xxl-job-core; ends in order on SIGTERM. */
public final class TestExecutor {

    private TestExecutor() {}

    public static void main(String[] arguments) throws Exception {
        Settings settings = Settings.read();
        Generation generation = new Adapter();
        generation.start(settings, new Handlers(new Counter(settings.counter())).byName());
        Runtime.getRuntime().addShutdownHook(new Thread(generation::destroy, "stop"));
        System.out.println("started " + settings.appname() + " on " + settings.port());
        Thread.currentThread().join();
    }
}
