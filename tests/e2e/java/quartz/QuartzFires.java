import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Date;
import java.util.TimeZone;
import org.quartz.CronExpression;

/** Lines "start_ms TAB count TAB zone TAB expression" in, a JSON list of instants a line out, null for what is refused. */
public final class QuartzFires {
    public static void main(String[] args) throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new StringBuilder();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            var parts = line.split("\t", 4);
            out.append(fires(Long.parseLong(parts[0]), Integer.parseInt(parts[1]), parts[2], parts[3])).append('\n');
        }
        System.out.print(out);
    }

    private static String fires(long startMs, int count, String zone, String expression) {
        var list = new StringBuilder("[");
        try {
            var cron = new CronExpression(expression);
            cron.setTimeZone(TimeZone.getTimeZone(zone));
            Date at = new Date(startMs);
            for (int n = 0; n < count && (at = cron.getTimeAfter(at)) != null; n++) {
                list.append(n == 0 ? "" : ",").append(at.getTime());
            }
        } catch (Exception refused) {
            return "null";
        }
        return list.append("]").toString();
    }

    private QuartzFires() {}
}
