/* The table of commands. A row here gives a command its parsing, help, completion and manual page.
 */
#include "cli.h"

#define AGENT_ARG                 \
	{                         \
		"NAME", CLI_AGENT \
	}
#define IDLE_OPTION                                                               \
	{                                                                         \
		"idle-suspend", 0, "SECONDS",                                     \
			"suspend it when nobody wants anything of it for so long" \
			" (0: never)"                                             \
	}
#define FORCE_OPTION                                                                       \
	{                                                                                  \
		"force", 'f', NULL,                                                        \
			"end the machine at once instead of asking the guest to power off" \
	}

const struct cli_option cli_global_options[] = {
	{"json", 0, NULL, "print the answer as JSON"},
	{"url", 0, "URL",
		"the gateway to speak to (BERTH_URL); without it, this machine's own appliance"},
	{"token", 0, "TOKEN", "the token to show there (BERTH_TOKEN)"},
	{"state", 0, "DIR", "the state folder of this machine's appliance (BERTH_STATE)", false,
		CLI_FOLDER},
	{"help", 'h', NULL, "explain the command"},
	{NULL},
};

const struct cli_command cli_commands[] = {
	{"up", "The appliance", "start the appliance: the daemon and its gateway",
		"Starts berthd and berth-gateway and comes back once they answer. Without "
		"--listen, BERTH_LISTEN or "
		"berth.conf says where the gateway listens. The first start prints the admin "
		"token; it is kept hashed and cannot be shown again. When the appliance is up "
		"already, says so.",
		{{NULL}},
		{{"listen", 0, "ADDR:PORT", "where the gateway listens (default 127.0.0.1:7900)"},
			{"foreground", 0, NULL, "stay, and end with the appliance (for systemd)"}},
		{"berth up", "berth up --state /srv/berth --listen 127.0.0.1:7901"}, false, cli_up},
	{"down", "The appliance", "stop every agent and the appliance",
		"Asks the guests to power off, waits for them, and ends everything. Disks and "
		"records stay.",
		{{NULL}}, {{NULL}}, {"berth down"}, false, cli_down},
	{"status", "The appliance", "what is running, where, and since when",
		"Exit status 1 when the appliance does not run or only half of it does.", {{NULL}},
		{{NULL}}, {"berth status", "berth status --json"}, false, cli_status},
	{"doctor", "The appliance", "check what this machine has and lacks",
		"One line per thing: ok, warn or FAIL, what it is, the cause and the way out. Exit "
		"status 1 when agents "
		"cannot run here.",
		{{NULL}}, {{NULL}}, {"berth doctor"}, false, cli_doctor},

	{"image build", "Images", "build the image that agents boot from",
		"Builds a Debian root file system with the kernel and the browser, from Debian's "
		"mirrors. An image made "
		"from the same package versions has the same name and is not built twice. When the "
		"appliance is up, the image's warm template is made as well: a machine with its "
		"browser up, for new agents to begin from.",
		{{NULL}},
		{{"flavor", 0, "NAME",
			 "headless-shell (default, small) or chromium (full, for extensions)",
			 false, CLI_WORDS, "headless-shell chromium"},
			{"mirror", 0, "URL", "the Debian mirror to use"},
			{"security-mirror", 0, "URL",
				"the mirror of Debian's security updates to use"},
			{"extra-packages", 0, "A,B", "Debian packages to install in addition"},
			{"ca", 0, "FILE", "a CA certificate (PEM) that the guest trusts", true,
				CLI_FILE},
			{"no-template", 0, NULL,
				"make no warm template of it, though the appliance is up"},
			{"no-update", 0, NULL,
				"take an image that is there, without asking for newer packages"}},
		{"berth image build", "berth image build --flavor chromium"}, false,
		cli_image_build},
	{"image ls", "Images", "list the images", NULL, {{NULL}}, {{NULL}}, {"berth image ls"},
		false, cli_image_ls},
	{"image rm", "Images", "remove an image that no agent uses", NULL, {{"IMAGE"}}, {{NULL}},
		{"berth image rm 3f1c9a0be1d2c3f4"}, false, cli_image_rm},

	{"create", "Agents", "make a new agent and start it",
		"An agent is one computer of its own: a virtual machine with a browser, a disk and "
		"a network that reaches "
		"only what --allow names. Prints the agent's addresses.",
		{{"NAME"}},
		{{"image", 0, "IMAGE", "the image to boot from (default: the newest)"},
			{"memory", 0, "MiB", "memory of the machine (default 1024)"},
			{"cpus", 0, "N", "processors of the machine (default 2)"},
			{"disk", 0, "GiB", "most that its disk may grow to (default 8)"},
			{"allow", 0, "RULE",
				"a name the agent may reach: example.com, *.example.com, "
				"example.com:8443; `berth help policy` tells more",
				true},
			{"force", 0, NULL, "take rules that open more than they seem to"},
			{"limit", 0, "KEY=VALUE",
				"how much it may use of the network: see berth policy", true},
			{"label", 0, "K=V", "a label of your own", true},
			{"on-crash", 0, "WHAT",
				"when the machine crashes or hangs: restart (default) or stop",
				false, CLI_WORDS, "restart stop"},
			{"from", 0, "SNAPSHOT",
				"begin from a snapshot: its memory and disk, its image and size, "
				"and its rules unless --allow gives others",
				false, CLI_SNAPSHOT},
			IDLE_OPTION, {"no-start", 0, NULL, "only make the record and the disk"}},
		{"berth create demo --allow example.com --allow '*.example.com'",
			"berth create big --memory 4096 --cpus 4 --label team=search",
			"berth create second --from before-login"},
		false, cli_create},
	{"update", "Agents", "change what an agent is given",
		"Memory and processors change at its next start from its disk.", {AGENT_ARG},
		{IDLE_OPTION, {"memory", 0, "MiB", "memory of the machine"},
			{"cpus", 0, "N", "processors of the machine"},
			{"on-crash", 0, "WHAT",
				"when the machine crashes or hangs: restart or stop", false,
				CLI_WORDS, "restart stop"}},
		{"berth update demo --idle-suspend 600"}, false, cli_update},
	{"ls", "Agents", "list the agents", NULL, {{NULL}},
		{{"quiet", 'q', NULL, "names only"},
			{"label", 0, "K=V", "only agents with this label"}},
		{"berth ls", "berth ls --label team=search"}, false, cli_ls},
	{"show", "Agents", "one agent in full", NULL, {AGENT_ARG}, {{NULL}}, {"berth show demo"},
		false, cli_show},
	{"start", "Agents", "start stopped agents", NULL, {{"NAME", CLI_AGENT, false, true}},
		{{NULL}}, {"berth start demo"}, false, cli_start},
	{"stop", "Agents", "stop agents; their disks stay",
		"The guest ends its browser gently, writes everything to its disk and powers off.",
		{{"NAME", CLI_AGENT, false, true}}, {FORCE_OPTION}, {"berth stop demo"}, false,
		cli_stop},
	{"restart", "Agents", "stop and start agents", NULL, {{"NAME", CLI_AGENT, false, true}},
		{{NULL}}, {"berth restart demo"}, false, cli_restart},
	{"suspend", "Agents", "put agents to sleep, with everything that is open in them",
		"What is in the agent's memory goes to its disk and the memory back to this "
		"machine. "
		"Tabs, log-ins, half-typed forms and running programs are there again when it "
		"wakes: at `berth resume`, or by itself as soon as anybody wants something of it.",
		{{"NAME", CLI_AGENT, false, true}}, {{NULL}}, {"berth suspend demo"}, false,
		cli_suspend},
	{"resume", "Agents", "wake suspended agents", NULL, {{"NAME", CLI_AGENT, false, true}},
		{{NULL}}, {"berth resume demo"}, false, cli_resume},
	{"rm", "Agents", "remove agents and everything they own",
		"The disk with the browser's profile and all files is deleted. Nothing asks first.",
		{{"NAME", CLI_AGENT, false, true}}, {{NULL}}, {"berth rm demo"}, false, cli_rm},

	{"snapshot", "Snapshots", "keep what an agent is at this moment",
		"Memory and disk of a running agent, which stands still for a moment; of a "
		"suspended one without waking it; the disk of a stopped one. Only what changed "
		"since the last one takes room.",
		{AGENT_ARG},
		{{"tag", 0, "TAG", "a name for it, which can be used instead of its id"},
			{"disk-only", 0, NULL,
				"without the memory: who begins from it boots, as after a power "
				"cut"}},
		{"berth snapshot demo --tag before-login"}, false, cli_snapshot},
	{"snapshots", "Snapshots", "list the snapshots as a tree",
		"A snapshot stands below the one that its agent was at before: going back to one "
		"and taking another makes a branch. The last column says what removing it would "
		"free; the rest is needed by others.",
		{{"NAME", CLI_AGENT, true}}, {{"quiet", 'q', NULL, "ids only"}},
		{"berth snapshots", "berth snapshots demo"}, false, cli_snapshots},
	{"restore", "Snapshots", "put an agent back to one of its snapshots",
		"What it is now, memory and disk, is gone: take a snapshot of it first if it may "
		"be wanted. Its policy stays the present one.",
		{AGENT_ARG, {"SNAPSHOT", CLI_SNAPSHOT}}, {{NULL}},
		{"berth restore demo before-login"}, false, cli_restore},
	{"fork", "Snapshots", "make new agents that begin where this one is",
		"Each has the original's memory and disk, and from then on an identity, a disk "
		"and a policy of its own. The original goes on; its connections stay with it.",
		{AGENT_ARG, {"NEW", CLI_NOTHING, true, true}},
		{{"count", 0, "N", "so many, called NAME-1, NAME-2 and so on"},
			{"snapshot", 0, "SNAPSHOT", "begin where the agent was then", false,
				CLI_SNAPSHOT}},
		{"berth fork demo left right", "berth fork demo --count 5 --snapshot before-login"},
		false, cli_fork},
	{"snapshot-rm", "Snapshots", "remove snapshots",
		"Agents and snapshots that stand on it keep what they need.",
		{{"SNAPSHOT", CLI_SNAPSHOT, false, true}}, {{NULL}},
		{"berth snapshot-rm before-login"}, false, cli_snapshot_rm},

	{"cdp", "Browser", "print the address for a CDP client, token inside",
		"Prints a ws:// URL and nothing else. It stays valid over restarts of the browser "
		"and of the agent. Each "
		"call makes a token of its own for this agent; `berth token ls` lists them under "
		"the label cdp.",
		{AGENT_ARG},
		{{"ttl", 0, "SECONDS", "how long the token is good for (default 30 days)"},
			{"label", 0, "TEXT", "a note to recognise the token by (default: cdp)"},
			{"replace", 0, NULL,
				"it takes the place of those of this agent and label"}},
		{"node script.js \"$(berth cdp demo)\""}, false, cli_cdp},
	{"open", "Browser", "open a page in the agent's browser",
		"Waits until the page has loaded.", {AGENT_ARG, {"URL"}},
		{{"new-tab", 0, NULL, "in a tab of its own"},
			{"timeout", 0, "SECONDS", "how long to wait for it (default 60)"}},
		{"berth open demo https://example.com/"}, false, cli_open},
	{"screenshot", "Browser", "write a picture of the agent's page to a file",
		"The file's ending chooses the format: .png, .jpg or .webp. `-` writes to the "
		"standard output.",
		{AGENT_ARG, {"FILE", CLI_FILE}},
		{{"format", 0, "FORMAT", "png, jpeg or webp, whatever the file is called", false,
			 CLI_WORDS, "png jpeg webp"},
			{"quality", 0, "N", "0 to 100, for jpeg and webp"},
			{"full-page", 0, NULL, "the whole page instead of what is in view"}},
		{"berth screenshot demo demo.png"}, false, cli_screenshot},
	{"port", "Browser", "a loopback port that speaks plain CDP for one agent",
		"For clients that cannot carry a path or a header. Whoever can connect to this "
		"machine's loopback drives "
		"the agent, so close it when done. Without PORT, a free one is taken.",
		{AGENT_ARG, {"PORT", CLI_NOTHING, true}}, {{"close", 0, NULL, "close it again"}},
		{"berth port demo", "berth port demo 9222", "berth port demo --close"}, false,
		cli_port},

	{"exec", "Inside", "run a command in the agent",
		"The command's output is streamed; its exit status becomes this program's (128 + N "
		"after signal N). "
		"Interrupting forwards the signal to the command.",
		{AGENT_ARG, {"CMD", CLI_NOTHING, false, true}},
		{{"stdin", 'i', NULL, "send the standard input"},
			{"tty", 't', NULL, "give the command a terminal"},
			{"env", 'e', "K=V", "set a variable", true},
			{"user", 'u', "USER", "run as this user of the guest (default agent)"},
			{"cwd", 'w', "DIR", "start in this folder (default: the user's home)"}},
		{"berth exec demo -- uname -a", "berth exec demo -it -- bash",
			"tar c site | berth exec demo -i -- tar x"},
		true, cli_exec},
	{"cp", "Inside", "copy files and folders to and from an agent",
		"One side is NAME:PATH; a relative PATH is below /home/agent. Folders are copied "
		"whole. `-` is the standard "
		"input or output, for a file.\n\n"
		"What a guest sends is not trusted: names that leave the destination end the copy; "
		"devices, sockets and "
		"links that point outside are left out; owners, set-id bits and extended "
		"attributes are ignored.",
		{{"SRC", CLI_REMOTE}, {"DST", CLI_REMOTE}},
		{{"max-size", 0, "SIZE", "most that a copy from an agent may write (default 10G)"},
			{"max-entries", 0, "N", "most files and folders in it (default 1000000)"}},
		{"berth cp report.pdf demo:Uploads/", "berth cp demo:Downloads ./from-demo"}, false,
		cli_cp},

	{"policy", "Network", "what the agent may reach",
		"Without an action, shows the rules. A rule is a name, or *.name for every name "
		"below it, each with optional "
		"ports: example.com:443,8443. Without ports it means 80 and 443, and the name is "
		"checked on every connection. name:22/tcp opens a port to any protocol, without a "
		"look at names; 10.1.0.0/16:5432/tcp opens one of a network. deny RULE stands "
		"above "
		"everything that is allowed. preset:NAME is the rules of a file; `berth policy "
		"presets [NAME]` lists and shows them. An agent without rules reaches nothing. A "
		"change is in force when the command returns, and cuts the connections that are no "
		"longer allowed.\n\n"
		"A rule that would do nothing, or open more than it seems to, is refused; --force "
		"takes the latter. In mode learn every public name is allowed and logged; deny "
		"RULE still holds. suggest makes rules of what was asked for; why tells what would "
		"become of a connection to HOST[:PORT], and which rule or command decides it.\n\n"
		"limit KEY=VALUE... says how much it may use: bandwidth_up and bandwidth_down "
		"(bytes a second), connections, connections_per_second, dns_per_second, "
		"bytes_per_run, bytes_per_day; a VALUE may end in K, M, G or T, and none takes "
		"the limit away. on_limit=refuse or suspend is what happens when a number of "
		"bytes is used up.",
		{{"NAME", CLI_AGENT},
			{"ACTION", CLI_WORDS, true, false,
				"show allow deny remove mode limit log why suggest", "presets"},
			{"RULE", CLI_NOTHING, true, true}},
		{{"force", 0, NULL, "take rules that open more than they seem to"},
			{"denied", 0, NULL, "log: only what was refused"},
			{"follow", 'f', NULL, "log: go on as it happens"},
			{"limit", 'n', "N", "log: the last N entries (default 100)"}},
		{"berth policy demo limit bandwidth_down=1M",
			"berth policy demo allow '*.example.com' example.com",
			"berth policy demo log --denied", "berth policy demo why example.com:22"},
		false, cli_policy},

	{"log", "History", "what happened to one agent, and what models did in its browser",
		"Each action of a model (computer use, MCP) is a line with its time, what it was, "
		"where, the address of the page, how long it took, and where it came from; a "
		"failure says why. What was typed is told by its length, and addresses without "
		"what is behind ? or #.\n\n"
		"With --json: {events, actions}; with --follow too, one object a line, an event "
		"with the member `type` or an action with the member `action`.",
		{AGENT_ARG},
		{{"follow", 'f', NULL, "go on as it happens"},
			{"limit", 'n', "N", "the last N lines (default 100)"}},
		{"berth log demo --follow"}, false, cli_log},
	{"events", "History", "what happened to the appliance and all agents", NULL, {{NULL}},
		{{"follow", 'f', NULL, "go on as it happens"},
			{"limit", 'n', "N", "the last N events (default 100)"}},
		{"berth events", "berth events --follow --json"}, false, cli_events},

	{"token create", "Access", "make a token; the last line printed is the token itself",
		"admin may do everything; agent drives the agent it names; viewer only looks.",
		{{NULL}},
		{{"role", 0, "ROLE", "admin, agent or viewer", false, CLI_WORDS,
			 "admin agent viewer"},
			{"agent", 0, "NAME", "the agent it is for", false, CLI_AGENT},
			{"ttl", 0, "SECONDS", "how long it is good for (default: until revoked)"},
			{"label", 0, "TEXT", "a note to recognise it by"},
			{"replace", 0, NULL,
				"it takes the place of those of the same role, agent and "
				"label"}},
		{"berth token create --role agent --agent demo --ttl 3600"}, false,
		cli_token_create},
	{"token ls", "Access", "list the tokens, without their secrets", NULL, {{NULL}}, {{NULL}},
		{"berth token ls"}, false, cli_token_ls},
	{"token revoke", "Access", "revoke tokens by their id", NULL,
		{{"ID", CLI_NOTHING, false, true}}, {{NULL}},
		{"berth token revoke tok_abcdefghijklmnop"}, false, cli_token_revoke},

	{"completion", "Other", "print a completion script for a shell", NULL,
		{{"SHELL", CLI_WORDS, false, false, "bash zsh fish"}}, {{NULL}},
		{"source <(berth completion bash)"}, false, cli_completion},
	{"help", "Other", "explain a command", NULL, {{"VERB", CLI_VERB, true, true}},
		{{"man", 0, NULL, "print the manual page's source"},
			{"conf", 0, NULL, "print a berth.conf that changes nothing"}},
		{"berth help create"}, false, cli_help},
	{"version", "Other", "print the version", NULL, {{NULL}}, {{NULL}}, {"berth version"},
		false, cli_version},
};

const size_t cli_n_commands = sizeof(cli_commands) / sizeof(cli_commands[0]);
_Static_assert(sizeof(cli_commands) / sizeof(cli_commands[0]) <= CLI_COMMANDS_MAX,
	"raise CLI_COMMANDS_MAX");
