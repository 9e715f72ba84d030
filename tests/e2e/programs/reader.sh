# Waits in read for each line; functions, arrays and arithmetic as state.
declare -a lines
declare -i total=0
remember() { lines+=("$1"); total=$((total * 31 + ${#1})); }
while IFS= read -r line; do
  remember "$line"
  echo "step $((${#lines[@]} - 1)) $total ${lines[0]} $(printf '%s' "$line" | cksum)"
  [ "$line" = end ] && break
done
printf '%s\n' "${lines[@]}"
trap 'echo leaving' EXIT
