# Fish completion for vmconf(8) and qemu-supervise(8), which tell what their words may become ("--complete WORD...").

function __vmconf_complete
	set -l words (commandline -opc)
	set -l word (commandline -ct | string replace -r '^[\'"]' '')
	if set -l dashes (contains -i -- -- $words)
		set -l behind (string escape -- $words[(math $dashes + 1)..-1])
		complete -C (string join ' ' -- $behind "$word")
		return
	end
	for line in ($words[1] --complete $words[2..-1] "$word" 2>/dev/null)
		if test "$line" = :files
			__fish_complete_path "$word"
		else
			echo $line
		end
	end
end

complete -c vmconf -f -a '(__vmconf_complete)'
complete -c qemu-supervise -f -a '(__vmconf_complete)'
