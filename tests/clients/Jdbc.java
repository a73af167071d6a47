import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

/**
 * Connects with pgjdbc, so often to each URL, and tells each answer to a query in a line of its own.
 *
 * <p>Usage: Jdbc.java QUERY TIMES URL...
 */
public class Jdbc {
    public static void main(String[] arguments) {
        for (int url = 2; url < arguments.length; url++) {
            for (int time = 0; time < Integer.parseInt(arguments[1]); time++) {
                System.out.println(answer(arguments[url], arguments[0]).replaceAll("\\s+", " "));
            }
        }
    }

    private static String answer(String url, String query) {
        String user = System.getenv("PGUSER");
        String password = System.getenv("PGPASSWORD");
        try (Connection connection = DriverManager.getConnection(url, user, password);
                Statement statement = connection.createStatement();
                ResultSet result = statement.executeQuery(query)) {
            result.next();
            return result.getString(1);
        } catch (SQLException refused) {
            return refused.getMessage();
        }
    }
}
