/*
 * The loader's one way to give up. Hosted tests bring their own.
 */
#ifndef LOADER_REPORT_H
#define LOADER_REPORT_H

/*
 * Prints "loader: <text>\n" and ends the domain. The format knows %s, %lx and %lu (uint64_t) only. The text says what
 * is wrong and what to do about it.
 */
_Noreturn void report_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
