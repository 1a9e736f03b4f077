/* core/policy.c: see policy.h. Owns the meaning of rights; no state, no locks. */
#include "core/policy.h"

#include "core/domain.h"

int policy_may(const struct domain *caller, enum action a, const struct domain *target)
{
	bool self = target && target == caller;
	uint32_t need = RIGHT_CONTROL;

	switch (a) {
	case ACTION_DOMCTL:
	case ACTION_SYSCTL:
		break;
	case ACTION_DOMINFO:
		need = RIGHT_CONTROL | RIGHT_XENSTORE;
		break;
	case ACTION_PLATFORM:
	case ACTION_HARDWARE:
		need = RIGHT_HARDWARE;
		break;
	case ACTION_CONSOLE:
		need = RIGHT_CONSOLE;
		break;
	case ACTION_MEMORY:
	case ACTION_EVENTS:
	case ACTION_PARAMS:
	case ACTION_GRANTS:
		if (self)
			return 0;
		if (target && target->id == caller->dm_target && a != ACTION_GRANTS)
			return 0;
		break;
	}
	return (caller->rights & need) ? 0 : -EPERM;
}
