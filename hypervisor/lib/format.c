/* Formatting and parsing of text. Stateless. */
#include "lib/lib.h"

struct out {
	char *buf;
	size_t size, len; /* len counts on past size */
};

struct spec {
	bool left, zero;
	unsigned width;
	int precision;	/* -1: none */
	unsigned longs; /* 0 int, 1 and more: 64 bits */
};

static void out_char(struct out *o, char c)
{
	if (o->len + 1 < o->size)
		o->buf[o->len] = c;
	o->len++;
}

static void out_pad(struct out *o, char c, unsigned n)
{
	while (n--)
		out_char(o, c);
}

static void out_string(struct out *o, const struct spec *f, const char *s)
{
	size_t n = 0;
	unsigned pad;

	if (!s)
		s = "(null)";
	while ((f->precision < 0 || n < (size_t)f->precision) && s[n])
		n++;
	pad = n < f->width ? f->width - (unsigned)n : 0;
	if (!f->left)
		out_pad(o, ' ', pad);
	for (size_t i = 0; i < n; i++)
		out_char(o, s[i]);
	if (f->left)
		out_pad(o, ' ', pad);
}

static void out_number(struct out *o, const struct spec *f, uint64_t v, unsigned base, bool upper, bool minus)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	char text[24];
	unsigned n = 0, len, pad;

	do {
		text[n++] = digits[v % base];
		v /= base;
	} while (v);
	len = n + minus;
	pad = len < f->width ? f->width - len : 0;
	if (!f->left && !f->zero)
		out_pad(o, ' ', pad);
	if (minus)
		out_char(o, '-');
	if (!f->left && f->zero)
		out_pad(o, '0', pad);
	while (n)
		out_char(o, text[--n]);
	if (f->left)
		out_pad(o, ' ', pad);
}

static const char *parse_spec(const char *p, struct spec *f, va_list *ap)
{
	*f = (struct spec){ .precision = -1 };
	for (; *p == '-' || *p == '0'; p++) {
		if (*p == '-')
			f->left = true;
		else
			f->zero = true;
	}
	if (*p == '*') {
		f->width = (unsigned)va_arg(*ap, int);
		p++;
	}
	for (; *p >= '0' && *p <= '9'; p++)
		f->width = f->width * 10 + (unsigned)(*p - '0');
	if (*p == '.') {
		f->precision = 0;
		if (*++p == '*') {
			f->precision = va_arg(*ap, int);
			p++;
		}
		for (; *p >= '0' && *p <= '9'; p++)
			f->precision = f->precision * 10 + (*p - '0');
	}
	for (; *p == 'l' || *p == 'z'; p++)
		f->longs++;
	return p;
}

static void out_conversion(struct out *o, const struct spec *f, char c, va_list *ap)
{
	uint64_t v;
	int64_t i;

	switch (c) {
	case 'd':
	case 'i':
		i = f->longs ? va_arg(*ap, long) : va_arg(*ap, int);
		out_number(o, f, i < 0 ? -(uint64_t)i : (uint64_t)i, 10, false, i < 0);
		break;
	case 'u':
	case 'x':
	case 'X':
		v = f->longs ? va_arg(*ap, unsigned long) : va_arg(*ap, unsigned);
		out_number(o, f, v, c == 'u' ? 10 : 16, c == 'X', false);
		break;
	case 'p':
		out_number(o, f, (uint64_t)va_arg(*ap, void *), 16, false, false);
		break;
	case 's':
		out_string(o, f, va_arg(*ap, const char *));
		break;
	case 'c':
		out_char(o, (char)va_arg(*ap, int));
		break;
	default:
		out_char(o, c);
		break;
	}
}

int lib_vsnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct out o = { buf, size, 0 };
	struct spec f;
	va_list args;

	va_copy(args, ap);
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			out_char(&o, *fmt);
			continue;
		}
		fmt = parse_spec(fmt + 1, &f, &args);
		if (!*fmt)
			break;
		out_conversion(&o, &f, *fmt, &args);
	}
	va_end(args);
	if (size)
		buf[MIN(o.len, size - 1)] = 0;
	return (int)o.len;
}

int lib_snprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = lib_vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return n;
}

size_t lib_strlcpy(char *dst, const char *src, size_t size)
{
	size_t n = strlen(src), copy = n < size ? n : size - 1;

	if (size) {
		memcpy(dst, src, copy);
		dst[copy] = 0;
	}
	return n;
}

const char *lib_next_word(const char **list, size_t *n)
{
	const char *word = *list;

	if (!*word)
		return NULL;
	for (*n = 0; word[*n] && word[*n] != ','; (*n)++)
		;
	*list = word + *n + (word[*n] == ',');
	return word;
}

bool lib_word_is(const char *word, size_t n, const char *what)
{
	return n == strlen(what) && !strncmp(word, what, n);
}

static int digit_of(char c, unsigned base)
{
	int d = c >= '0' && c <= '9'   ? c - '0'
		: c >= 'a' && c <= 'f' ? c - 'a' + 10
		: c >= 'A' && c <= 'F' ? c - 'A' + 10
				       : 99;

	return d < (int)base ? d : -1;
}

static unsigned suffix_shift(char c)
{
	switch (c | 0x20) {
	case 'k':
		return 10;
	case 'm':
		return 20;
	case 'g':
		return 30;
	case 't':
		return 40;
	default:
		return 0;
	}
}

bool lib_parse_size(const char *s, const char *stop, uint64_t *out, const char **end)
{
	unsigned base = 10, shift;
	uint64_t v = 0;

	if (s[0] == '0' && (s[1] | 0x20) == 'x') {
		base = 16;
		s += 2;
	}
	if (digit_of(*s, base) < 0)
		return false;
	for (; digit_of(*s, base) >= 0; s++) {
		if (v > (~0ull - 15) / base)
			return false;
		v = v * base + (uint64_t)digit_of(*s, base);
	}
	shift = suffix_shift(*s);
	if (shift) {
		if (v >> (64 - shift))
			return false;
		v <<= shift;
		s++;
	}
	if (*s && !(stop && strchr(stop, *s)))
		return false;
	*out = v;
	if (end)
		*end = s;
	return true;
}
