# Bash completion for pymmctl. Needs nothing but bash: candidates come from `pymmctl complete`.
# shellcheck shell=bash

# Splits the command line up to the cursor into words, as the shell would, without its quoting:
# COMP_WORDS keeps the quotes, and is cut at ':' and '='. Sets words, and quote to what is open.
_pymmctl_words() {
    local line=$1 word='' started='' i char
    words=() quote=''
    for ((i = 0; i < ${#line}; i++)); do
        char=${line:i:1}
        if [[ $quote ]]; then
            if [[ $char == "$quote" ]]; then
                quote=''
            elif [[ $quote == '"' && $char == '\' ]]; then
                i=$((i + 1)) word+=${line:i:1}
            else
                word+=$char
            fi
            continue
        fi
        case $char in
            \' | \") quote=$char started=1 ;;
            \\) i=$((i + 1)) word+=${line:i:1} started=1 ;;
            ' ' | $'\t')
                [[ $started ]] && words+=("$word")
                word='' started=''
                ;;
            *) word+=$char started=1 ;;
        esac
    done
    words+=("$word")
}

_pymmctl() {
    local program=$1 words quote cur prev command='' place=0 i list='' want
    COMPREPLY=()
    _pymmctl_words "${COMP_LINE:0:COMP_POINT}"
    cur=${words[-1]} prev=${words[-2]-}

    # The command, and how many operands stand between it and the cursor.
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        case ${words[i]} in
            -s | --size | --mode | --format | --dtype | --shape | --order | -w | --width | -r | --rows | --blob)
                i=$((i + 1)) ;;
            -?*) ;;
            *) if [[ $command ]]; then place=$((place + 1)); else command=${words[i]}; fi ;;
        esac
    done

    case $prev in
        --format)
            if [[ $command == put ]]; then list='auto npy raw safetensors'; else list='auto npy raw safetensors text'; fi ;;
        --order) list='C F' ;;
        --dtype)
            list='bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64
                complex64 complex128' ;;
        -s | --size | --mode | --shape | -w | --width | -r | --rows | --blob) return ;;
    esac
    if [[ -z $list && -z $command ]]; then
        list="$("$program" complete --commands 2>/dev/null) --help --version --verbose --quiet"
    elif [[ -z $list && $cur == -* ]]; then
        list=$("$program" complete --options "$command" 2>/dev/null)
    fi
    if [[ $list ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$list" -- "$cur")
        return
    fi

    case $command:$place in
        create:0) want=namespace ;;
        df:0 | dump:0 | fsck:0 | map:0) want=shelf ;;
        put:0 | get:0 | cat:* | seal:*) want=blob ;;
        list:0 | ls:0 | info:0 | mv:[01] | cp:[01] | erase:* | rm:*) want=any ;;
        put:1 | get:1) want='file' ;;
        *) return ;;
    esac

    # Only an unquoted tilde is a home directory; it is put back, as readline compares what was typed.
    local home='' path=$cur
    if [[ -z $quote && $cur == \~/* ]]; then
        home=$HOME path=$HOME${cur:1}
    fi
    if [[ $want == file ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$path")
    else
        mapfile -t COMPREPLY < <("$program" complete --want "$want" -- "$path" 2>/dev/null)
    fi
    [[ $home ]] && COMPREPLY=("${COMPREPLY[@]/#"$home"/\~}")

    # Readline cuts words at ':' and '=' unless they are quoted, and replaces only what follows.
    local raw=${COMP_WORDS[COMP_CWORD]} tail=${cur##*[:=]}
    if [[ $tail != "$cur" && ($raw == [:=] || $raw != *[:=]*) ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${cur%"$tail"}"}")
    fi

    # "filenames" makes readline quote spaces and such; after a slash one goes on typing.
    [[ $(type -t compopt) == builtin ]] || return
    compopt -o filenames 2>/dev/null
    if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == */ ]]; then
        compopt -o nospace 2>/dev/null
    fi
    return 0
}

complete -F _pymmctl pymmctl
