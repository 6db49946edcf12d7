# Processes that start two more each, five times over, and one that leaves the group.
b() {
	if [ "$1" -gt 0 ]; then
		b $(($1 - 1)) &
		b $(($1 - 1)) &
	fi
	exec sleep 1000
}
setsid sleep 1000 &
b 5
