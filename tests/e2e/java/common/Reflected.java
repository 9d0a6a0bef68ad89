package peer;

import java.lang.reflect.Method;
import java.lang.reflect.Proxy;

/** What some releases of a generation have and others have not, or have by another name. */
final class Reflected {

    private Reflected() {}

    /** Call the first setter of these names that takes one value; without any, nothing. */
    static void set(Object target, Object value, String... names) throws ReflectiveOperationException {
        for (String name : names) {
            for (Method method : target.getClass().getMethods()) {
                if (method.getName().equals(name) && method.getParameterCount() == 1) {
                    method.invoke(target, value);
                    return;
                }
            }
        }
    }

    static boolean has(Class<?> type, String field) {
        try {
            type.getField(field);
            return true;
        } catch (NoSuchFieldException e) {
            return false;
        }
    }

    /** 1.5 to 1.7.1 register by the admin's database; ours have their addresses entered by hand instead. */
    static void registerNowhere(Object executor) throws ReflectiveOperationException {
        Class<?> helper;
        try {
            helper = Class.forName("com.xxl.job.core.registry.RegistHelper");
        } catch (ClassNotFoundException e) {
            return;
        }
        Object silent = Proxy.newProxyInstance(
                helper.getClassLoader(), new Class<?>[] {helper}, (proxy, method, arguments) -> 1);
        set(executor, silent, "setRegistHelper");
    }

    /** What `method` of the value that `holder` gives says, or `otherwise` where there is no such class. */
    static int number(String type, String holder, String method, int otherwise) {
        try {
            Object held = Class.forName(type).getMethod(holder).invoke(null);
            return held == null ? otherwise : (int) held.getClass().getMethod(method).invoke(held);
        } catch (ReflectiveOperationException e) {
            return otherwise;
        }
    }
}
