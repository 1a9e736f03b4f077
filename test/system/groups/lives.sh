# about: a hundred guest lives, and what a guest's end can lead to
# boot: --nic=none --dom0-args=gossamer.bare
# long: yes
# limit: 2400

# life WAY: one guest that comes up, answers, and ends in this way.
life() {
	tiny_up life 'on_crash = "destroy"' 'on_reboot = "destroy"'
	tell life x
	eventually said life 'tiny: got x'
	case $1 in
	destroy) xl destroy life ;;
	*) tell life "$1" ;;
	esac
	eventually only_dom0
}

# lives N: that many, each ends in another way than the one before (p powers off, c crashes, r reboots, f is a triple
# fault), and dom0 and the hypervisor have as much afterwards as before.
lives() {
	local i=0 before held nodes ways=(destroy p c r f)
	life destroy
	before=$(balance)
	held=$(holdings)
	nodes=$(xenstore-ls | wc -l)
	while [ $i -lt "$1" ]; do
		life "${ways[i % 5]}"
		i=$((i + 1))
	done
	eventually holdings_are "$held"
	eventually is_balanced "$before"
	same "$(xenstore-ls | wc -l)" "$nodes" 'lines in xenstore'
}

# Four tests, for the time limit of one.
test_lives_1() { lives 25; }
test_lives_2() { lives 25; }
test_lives_3() { lives 25; }
test_lives_4() { lives 25; }

# again KEY LINE: a guest with this line comes up again, as another domain, after it was told the key.
again() {
	local first
	tiny_up again "$2"
	first=$(xl domid again)
	tell again "$1"
	eventually said again 'tiny: up' 2
	[ "$(xl domid again)" != "$first" ]
	xl destroy again
	eventually only_dom0
}
# stays KEY LINE: the guest stays as what it was.
stays() {
	tiny_up stays "$2"
	tell stays "$1"
	eventually has_state stays "$3"
	sleep 1
	exists stays
	xl destroy stays
	eventually only_dom0
}
# renamed KEY LINE: the old domain stays under another name, and a new one comes up.
renamed() {
	local first
	tiny_up twice "$2"
	first=$(xl domid twice)
	tell twice "$1"
	eventually said twice 'tiny: up' 2
	[ "$(xl domid twice)" != "$first" ]
	[[ $(xl domname "$first") == twice-?* ]]
	destroy_all
}

test_on_poweroff() {
	again p 'on_poweroff = "restart"'
	stays p 'on_poweroff = "preserve"' s
	renamed p 'on_poweroff = "rename-restart"'
}

test_on_reboot() {
	stays r 'on_reboot = "preserve"' s
	renamed r 'on_reboot = "rename-restart"'
}

test_on_crash() {
	again c 'on_crash = "restart"'
	renamed c 'on_crash = "rename-restart"'
	tiny_up crash 'on_crash = "destroy"'
	tell crash f
	eventually gone crash
}
