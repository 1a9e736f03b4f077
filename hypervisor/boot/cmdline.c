/*
 * The hypervisor's options, one name=value each, separated by spaces; a value may be a list (dom0_mem=1G,max:2G). Writes
 * boot_options at start-up only. Guests' and tools' view: XENVER_commandline has the text as given.
 */
#include "boot/boot.h"
#include "core/log.h"
#include "lib/lib.h"

#define WORD_SIZE 256

struct boot_options boot_options = {
	.console = "com1",
	.com1_baud = 115200,
	.com1_port = 0x3f8,
	.loglvl = LOG_INFO,
	.guest_loglvl = LOG_WARN,
	.sched = SCHED_SHARE,
};

static void bad(const char *name, const char *value, const char *expected)
{
	log_err("option %s=%s: bad value, ignored; %s", name, value, expected);
}

/* none, error, warning, info, debug or all; stock lists have two levels "lower/upper": the lower one counts. */
static bool parse_level(const char *value, int *out)
{
	static const struct {
		char name[8];
		int level;
	} levels[] = {
		{ "none", -1 },	      { "error", LOG_ERR },   { "warning", LOG_WARN },
		{ "info", LOG_INFO }, { "debug", LOG_DEBUG }, { "all", LOG_DEBUG },
	};
	size_t n = 0;

	while (value[n] && value[n] != '/')
		n++;
	for (unsigned i = 0; i < ARRAY_SIZE(levels); i++) {
		if (strlen(levels[i].name) == n && !strncmp(value, levels[i].name, n)) {
			*out = levels[i].level;
			return true;
		}
	}
	return false;
}

static void option_level(const char *name, const char *value, int *out)
{
	if (!parse_level(value, out))
		bad(name, value, "levels are none, error, warning, info, debug, all");
}

/* A list, of which this machine's serial line is all there is. */
static void option_console(const char *value)
{
	if (strcmp(value, "none") && !strstr(value, "com1"))
		bad("console", value, "expected com1 or none");
	else
		lib_strlcpy(boot_options.console, value, sizeof(boot_options.console));
}

/* com1=<baud>[,8n1[,<port>[,<irq>]]] or com1=auto */
static void option_com1(const char *value)
{
	const char *p;
	uint64_t baud, port;

	if (!lib_parse_size(value, ",", &baud, &p) || baud > 115200 || (baud && 115200 % baud)) {
		if (strncmp(value, "auto", 4)) {
			bad("com1", value, "expected a speed that divides 115200, as in com1=115200,8n1");
			return;
		}
		baud = 0;
		p = value + 4;
	}
	boot_options.com1_baud = (uint32_t)baud;
	if (!*p)
		return;
	if (strncmp(p, ",8n1", 4)) {
		bad("com1", value, "only 8n1 is offered");
		return;
	}
	p += 4;
	if (*p == ',' && lib_parse_size(p + 1, ",", &port, &p) && port && port < 0xfff8)
		boot_options.com1_port = (uint16_t)port;
	else if (*p)
		bad("com1", value, "the third item is an I/O port");
}

/* dom0_mem=<size>[,max:<size>][,min:<size>] */
static void option_dom0_mem(const char *value)
{
	uint64_t size, mem = boot_options.dom0_mem, max = 0;
	const char *p = value;

	do {
		bool is_max = !strncmp(p, "max:", 4), is_min = !strncmp(p, "min:", 4);

		if (!lib_parse_size(is_max || is_min ? p + 4 : p, ",", &size, &p)) {
			bad("dom0_mem", value, "expected a size, as in dom0_mem=1G,max:1G");
			return;
		}
		if (is_max)
			max = size;
		else if (!is_min)
			mem = size;
	} while (*p++ == ',');
	boot_options.dom0_mem = mem;
	boot_options.dom0_mem_max = max;
}

static void option_vcpus(const char *value)
{
	uint64_t n;
	const char *end;

	if (!lib_parse_size(value, "-", &n, &end) || (*end == '-' && !lib_parse_size(end + 1, NULL, &n, NULL)) || !n ||
	    n > 128)
		bad("dom0_max_vcpus", value, "expected 1 to 128");
	else
		boot_options.dom0_max_vcpus = (uint32_t)n;
}

/* A list of words; the first decides: no, off, 0, false switch off. */
static bool is_off(const char *value)
{
	return !strncmp(value, "no", 2) || !strncmp(value, "off", 3) || !strncmp(value, "0", 1) ||
	       !strncmp(value, "false", 5);
}

static void option_sched(const char *value)
{
	if (!strcmp(value, "credit2"))
		boot_options.sched = SCHED_SHARE;
	else if (!strcmp(value, "rtds"))
		boot_options.sched = SCHED_EDF;
	else if (!strcmp(value, "null"))
		boot_options.sched = SCHED_NULL;
	else if (!strcmp(value, "credit"))
		log_warn("option sched=credit: there is no such scheduler; credit2 is used");
	else
		bad("sched", value, "schedulers are credit2, rtds, null");
}

/* As Xen's; its other values name a TSC that is trusted here until CPUs are seen to differ. */
static void option_tsc(const char *value)
{
	if (!strcmp(value, "unstable"))
		boot_options.tsc_unstable = true;
	else if (strcmp(value, "skewed") && strcmp(value, "stable:socket"))
		bad("tsc", value, "expected unstable");
}

/* False: there is no such option. */
static bool option(const char *name, const char *value)
{
	if (!strcmp(name, "console"))
		option_console(value);
	else if (!strcmp(name, "com1"))
		option_com1(value);
	else if (!strcmp(name, "loglvl"))
		option_level(name, value, &boot_options.loglvl);
	else if (!strcmp(name, "guest_loglvl"))
		option_level(name, value, &boot_options.guest_loglvl);
	else if (!strcmp(name, "dom0_mem"))
		option_dom0_mem(value);
	else if (!strcmp(name, "dom0_max_vcpus"))
		option_vcpus(value);
	else if (!strcmp(name, "noreboot"))
		boot_options.noreboot = !is_off(value);
	else if (!strcmp(name, "iommu"))
		boot_options.iommu = !is_off(value);
	else if (!strcmp(name, "tsc"))
		option_tsc(value);
	else if (!strcmp(name, "spec-ctrl"))
		lib_strlcpy(boot_options.spec_ctrl, value, sizeof(boot_options.spec_ctrl));
	else if (!strcmp(name, "virt-off"))
		lib_strlcpy(boot_options.virt_off, value, sizeof(boot_options.virt_off));
	else if (!strcmp(name, "sched"))
		option_sched(value);
	else if (!strcmp(name, "dom0")) {
		if (strncmp(value, "pvh", 3))
			bad(name, value, "dom0 is always pvh");
	} else {
		return false;
	}
	return true;
}

void cmdline_parse(const char *s)
{
	char word[WORD_SIZE];

	lib_strlcpy(boot_options.raw, s, sizeof(boot_options.raw));
	while (*s) {
		size_t n = 0;
		char *value;

		while (*s == ' ')
			s++;
		for (; *s && *s != ' '; s++)
			if (n + 1 < sizeof(word))
				word[n++] = *s;
		word[n] = 0;
		if (!n || !strcmp(word, "--"))
			continue;
		value = strchr(word, '=');
		if (value)
			*value++ = 0;
		if (!option(word, value ? value : ""))
			log_warn("unknown option %s is ignored", word);
	}
}
