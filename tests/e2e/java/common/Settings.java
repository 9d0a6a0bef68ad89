package peer;

/** From system properties {@code peer.*}, so that the command line shows them. */
record Settings(String admin, String appname, int port, String logPath, String token, String counter) {

    static Settings read() {
        return new Settings(
                need("admin"),
                need("appname"),
                Integer.parseInt(need("port")),
                need("logpath"),
                System.getProperty("peer.token", ""),
                need("counter"));
    }

    private static String need(String name) {
        String value = System.getProperty("peer." + name);
        if (value == null) {
            throw new IllegalArgumentException("-Dpeer." + name + "=… is missing");
        }
        return value;
    }
}
