/* Computer-use requests of every vendor: what is read, what is refused, what goes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "util.h"
#include "vendor.h"

static const char *const kinds[ACTION_COUNT] = {"bad", "click", "press", "release", "move", "drag",
	"scroll", "key", "down", "up", "hold", "type", "wait", "shot", "zoom", "cursor", "go",
	"back", "forward", "nothing", "snapshot", "choose", "evaluate", "await", "dialog", "files",
	"resize", "tabs", "reload", "find", "text", "set", "scroll_to", "upload", "report"};

static void show_action(struct buf *b, const struct action *a)
{
	buf_addf(b, "%s%s", b->len ? ";" : "", kinds[a->kind]);
	if (a->kind == ACTION_CLICK)
		buf_addf(b, " b%d n%d", a->button, a->clicks);
	if (a->has_from)
		buf_addf(b, " %d,%d>", a->from.x, a->from.y);
	if (a->has_at)
		buf_addf(b, " %d,%d%s", a->at.x, a->at.y, a->thousandths ? "%" : "");
	for (size_t i = 0; i < a->n_path; i++)
		buf_addf(b, " (%d,%d)", a->path[i].x, a->path[i].y);
	if (a->keys.n)
		buf_addf(b, " %s/%zu", a->keys.keys[a->keys.n - 1].key, a->keys.n);
	if (a->modifiers.n)
		buf_addf(b, " m%u", keys_modifiers(&a->modifiers));
	if (a->repeat > 1)
		buf_addf(b, " x%d", a->repeat);
	if (a->kind == ACTION_SCROLL)
		buf_addf(b, " d%d %d %d,%d", a->direction, a->amount, a->dx, a->dy);
	if (a->ms)
		buf_addf(b, " %lldms", (long long)a->ms);
	if (a->kind == ACTION_ZOOM)
		buf_addf(b, " %d,%d,%d,%d", a->region[0], a->region[1], a->region[2], a->region[3]);
	if (a->text)
		buf_addf(b, " '%s'", a->text);
	if (a->clear_first)
		buf_addf(b, " clear");
	if (a->press_enter)
		buf_addf(b, " enter");
	if (a->ref)
		buf_addf(b, " r%u", a->ref);
	if (a->tab)
		buf_addf(b, " @%s", a->tab);
	if (a->kind == ACTION_SNAPSHOT)
		buf_addf(b, " part%d depth%d", a->part, a->depth);
	if (a->choices)
		buf_addf(b, " =%s", a->choices);
	if (a->script || a->told || a->opened)
		buf_addf(b, "%s", a->script ? " script" : a->told ? " told" : " opened");
	if (a->always)
		buf_addf(b, "!");
}

/* The plan of a text in one line: vendor:actions; or the problem. */
static void show(const char *text, const char *version, char *out, size_t size)
{
	cJSON *body = cJSON_Parse(text);
	struct plan p = {.pictures = PICTURES_NEVER};
	struct err err;
	struct buf b;

	assert_non_null(body);
	buf_init(&b, size - 1);
	if (plan_read(&p, body, NULL, version, &err) < 0)
		buf_addf(&b, "%d %s", err.status, err.msg);
	for (size_t i = 0; i < p.n_actions; i++)
		show_action(&b, &p.actions[i]);
	snprintf(out, size, "%s%s%s", p.n_actions ? p.vendor->name : "", p.n_actions ? ":" : "",
		buf_str(&b));
	buf_done(&b);
	plan_done(&p);
	cJSON_Delete(body);
}

static const struct {
	const char *text, *want, *version;
} requests[] = {
#define A "anthropic:"
	{"{'action':'screenshot'}", A "shot"},
	{"{'action':'left_click','coordinate':[3,4]}", A "click b0 n1 3,4"},
	{"{'action':'left_click','coordinate':null,'text':null}", A "click b0 n1"},
	{"{'action':'right_click','coordinate':[3,4],'text':'shift'}", A "click b1 n1 3,4 m8"},
	{"{'action':'double_click','key':'ctrl+alt'}", A "click b0 n2 m3"},
	{"{'action':'triple_click','coordinate':[0,0]}", A "click b0 n3 0,0"},
	{"{'action':'left_click','coordinate':[1,1]}",
		A "bad 'left_click: coordinate is no member of it in this version'",
		"computer_20241022"},
	{"{'action':'left_click'}", A "click b0 n1", "computer_20241022"},
	{"{'action':'key','text':'ctrl+s'}", A "key s/2"},
	{"{'action':'hold_key','text':'a','duration':1.5}", A "hold a/1 1500ms"},
	{"{'action':'type','text':'h\\u00e9'}", A "type 'h\xc3\xa9'"},
	{"{'action':'left_click_drag','coordinate':[9,9]}", A "drag 9,9"},
	{"{'action':'left_click_drag','start_coordinate':[1,2],'coordinate':[9,9]}",
		A "drag 1,2> 9,9"},
	{"{'action':'scroll','coordinate':[1,1],'scroll_direction':'left','scroll_amount':3}",
		A "scroll 1,1 d3 3 0,0"},
	{"{'action':'wait','duration':2}", A "wait 2000ms"},
	{"{'action':'zoom','region':[0,1,2,3]}", A "zoom 0,1,2,3"},
	{"{'action':'zoom','region':[0,1,2,3]}", NULL, "computer_20250124"},
	{"{'action':'cursor_position'}", A "cursor"},
	{"{'action':'left_mouse_down'}", A "press"},
	{"{'type':'tool_use','id':'1','name':'computer','input':{'action':'mouse_move',"
	 "'coordinate':[5,6]}}",
		A "move 5,6"},
	{"{'type':'tool_use','id':'1','toolset_name':'computer','name':'key','input':"
	 "{'text':'Tab','repeat':3}}",
		A "key Tab/1 x3"},
	{"{'name':'wait','input':{'duration':1}}", A "wait 1000ms"},
	{"{'name':'hold_key','input':{'text':'a','duration':1.5}}",
		A "bad 'hold_key: duration must be a whole number'"},
	{"{'name':'left_click_drag','input':{'coordinate':[9,9]}}",
		A "bad 'left_click_drag: start_coordinate is missing'"},
	{"{'role':'assistant','content':[{'type':'text','text':'x'},{'type':'tool_use','id':'1',"
	 "'name':'bash','input':{}},{'type':'tool_use','id':'2','name':'left_mouse_up',"
	 "'input':{}}]}",
		A "release"},
	{"[{'action':'wait','duration':1},{'action':'screenshot'}]", A "wait 1000ms;shot"},
	/* the browser toolset: by its name, by what only it has, by the version */
	{"{'type':'tool_use','id':'1','toolset_name':'browser','name':'screenshot','input':{}}",
		A "shot;report"},
	{"{'name':'screenshot','input':{}}", A "shot"},
	{"{'name':'screenshot','input':{}}", A "shot;report", "browser_toolset_20260801"},
	{"{'name':'screenshot','input':{'tab_id':'T'}}", A "shot @T;report"},
	{"{'name':'left_click','input':{'coordinate':[3,4]}}", A "click b0 n1 3,4"},
	{"{'name':'left_click','input':{'target':{'type':'coordinate','x':3,'y':4}}}",
		A "click b0 n1 3,4;report"},
	{"{'name':'triple_click','input':{'target':{'type':'ref','ref':'ref_7'},'modifiers':"
	 "'ctrl+shift','tab_id':'T'}}",
		A "click b0 n3 m10 r7 @T;report"},
	{"{'name':'left_click','input':{'target':{'type':'ref','ref':'e7'}}}",
		A "bad 'left_click: target.ref must be a reference that read_page or find gave, as "
		  "\"ref_7\"';report"},
	{"{'name':'left_click','input':{'target':{'type':'coordinate','x':-1,'y':4}}}",
		A "bad 'left_click: target.x is -1; it must be from 0 to 1000000';report"},
	{"{'name':'left_click','input':{'target':{'type':'coordinate','x':1.5,'y':4}}}",
		A "bad 'left_click: target.x must be a whole number';report"},
	{"{'name':'left_click','input':{'target':[3,4]}}",
		A "bad 'left_click: target must be {type: \"coordinate\", x, y} or {type: \"ref\", "
		  "ref}';report"},
	{"{'toolset_name':'browser','name':'left_click','input':{'coordinate':[3,4]}}",
		A "bad 'left_click: target is missing';report"},
	{"{'name':'hover','input':{'target':{'type':'ref','ref':'ref_7'}}}", A "move r7;report"},
	{"{'name':'left_mouse_down','input':{'target':{'type':'coordinate','x':3,'y':4}}}",
		A "press 3,4;report"},
	{"{'name':'left_mouse_up','input':{'target':{'type':'ref','ref':'ref_7'}}}",
		A "bad 'left_mouse_up: target must be {type: \"coordinate\", x, y}';report"},
	{"{'name':'left_click_drag','input':{'from':{'type':'coordinate','x':1,'y':2},'target':"
	 "{'type':'coordinate','x':3,'y':4}}}",
		A "drag 1,2> 3,4;report"},
	{"{'name':'scroll','input':{'target':{'type':'coordinate','x':3,'y':4},"
	 "'scroll_direction':'up'}}",
		A "scroll 3,4 d1 3 0,0;report"},
	{"{'name':'scroll','input':{'target':{'type':'coordinate','x':3,'y':4},"
	 "'scroll_direction':'up','scroll_amount':11}}",
		A "bad 'scroll: scroll_amount is 11; it must be from 1 to 10';report"},
	{"{'name':'navigate','input':{'url':'a.test'}}", A "go 'a.test' told;report"},
	{"{'name':'navigate','input':{'url':' Back '}}", A "back ' Back ' told;report"},
	{"{'name':'navigate','input':{'url':'reload'}}", A "reload 'reload' told;report"},
	{"{'name':'list_tabs','input':{}}", A "tabs 'list';report"},
	{"{'name':'new_tab','input':{}}", A "tabs 'new';report opened"},
	{"{'name':'switch_tab','input':{'tab_id':'T'}}", A "tabs 'select' @T;report"},
	{"{'name':'close_tab','input':{}}", A "bad 'close_tab: tab_id is missing';report"},
	{"{'name':'read_page','input':{}}", A "snapshot part1 depth15;report"},
	{"{'name':'read_page','input':{'filter':'all','depth':3,'ref':'ref_9'}}",
		A "snapshot r9 part0 depth3;report"},
	{"{'name':'read_page','input':{'filter':'interactive'}}",
		A "snapshot part2 depth15;report"},
	{"{'name':'read_page','input':{'filter':'some'}}",
		A "bad 'read_page: filter must be interactive or all';report"},
	{"{'name':'get_page_text','input':{}}", A "text;report"},
	{"{'name':'find','input':{'query':'search bar'}}", A "find 'search bar';report"},
	{"{'name':'form_input','input':{'target':{'type':'ref','ref':'ref_7'},'value':true}}",
		A "set 'true' r7 =true;report"},
	{"{'name':'form_input','input':{'target':{'type':'ref','ref':'ref_7'},'value':'a'}}",
		A "set 'a' r7 =\"a\";report"},
	{"{'name':'form_input','input':{'target':{'type':'ref','ref':'ref_7'},'value':{}}}",
		A "bad 'form_input: value must be a string, a number, true or false';report"},
	{"{'name':'scroll_to','input':{'target':{'type':'ref','ref':'ref_7'}}}",
		A "scroll_to r7;report"},
	{"{'name':'key','input':{'text':'Tab Tab ctrl+a','tab_id':'T'}}",
		A "key Tab/1 @T;key Tab/1 @T;key a/2 @T;report"},
	{"{'name':'key','input':{'text':'Tab a','repeat':2,'tab_id':'T'}}",
		A "key Tab/1 @T;key a/1 @T;key Tab/1 @T;key a/1 @T;report"},
	{"{'name':'key','input':{'text':'Tab','repeat':3,'tab_id':'T'}}",
		A "key Tab/1 x3 @T;report"},
	{"{'name':'key','input':{'text':'a b','repeat':51,'tab_id':'T'}}",
		A "bad 'key: text: it names too many presses of keys';report"},
	{"{'name':'hold_key','input':{'text':'a','duration':31,'tab_id':'T'}}",
		A "bad 'hold_key: duration is 31; it must be from 0 to 30';report"},
	{"{'name':'wait','input':{'duration':1.5,'tab_id':''}}", A "wait 1500ms;report"},
	{"{'name':'javascript_exec','input':{'text':'1'}}",
		A "bad 'javascript_exec is not enabled.';report"},
	{"{'name':'read_console','input':{}}", A "bad 'read_console is not enabled.';report"},
	{"{'name':'cursor_position','input':{}}", NULL, "browser_toolset_20260801"},
	{"{'name':'find','input':{'query':'x'}}", NULL, "computer_toolset_20260801"},
	{"{'role':'assistant','content':[{'type':'tool_use','id':'1','toolset_name':'browser',"
	 "'name':'type','input':{'text':'x'}},{'type':'tool_use','id':'2','toolset_name':"
	 "'mine','name':'find','input':{}},{'type':'tool_use','id':'3','toolset_name':'computer',"
	 "'name':'type','input':{'text':'y'}}]}",
		A "type 'x';report;type 'y'"},
	{"{'type':'tool_use','id':'1','toolset_name':'computer','name':'left_click','input':[]}",
		A "bad 'the action's members must be an object'"},
#undef A
#define A "openai:"
	{"{'type':'computer_call','call_id':'c','action':{'type':'click','button':'wheel','x':1,"
	 "'y':2}}",
		A "click b2 n1 1,2;shot!"},
	{"{'type':'click','x':1,'y':2,'keys':['CTRL','shift']}", A "click b0 n1 1,2 m10;shot!"},
	{"{'type':'click','button':'forward','x':1,'y':2,'keys':[]}", A "click b4 n1 1,2;shot!"},
	{"{'type':'computer_call','call_id':'c','actions':[{'type':'move','x':1,'y':2},"
	 "{'type':'wait'}]}",
		A "move 1,2;wait 1000ms;shot!"},
	{"{'action':{'type':'type','text':'x'}}", A "type 'x';shot!"},
	{"[{'type':'keypress','keys':['CTRL','A']},{'type':'screenshot'}]",
		A "key a/2;nothing;shot!"},
	{"{'type':'drag','path':[{'x':1,'y':2},{'x':3,'y':4}]}", A "drag (1,2) (3,4);shot!"},
	{"{'type':'drag','path':[{'x':1,'y':2}]}",
		A "bad 'drag: path must be a list of 2 to 1000 points {x, y}';shot!"},
	{"{'type':'drag','path':[{'x':1,'y':2},{'x':1}]}",
		A "bad 'drag: path[1].y must be a whole number';shot!"},
	{"{'type':'scroll','x':1,'y':2,'scroll_x':-5,'scroll_y':700}",
		A "scroll 1,2 d0 0 -5,700;shot!"},
	{"{'type':'double_click','x':1,'y':2}", A "click b0 n2 1,2;shot!"},
	{"{'type':'keypress','keys':[]}",
		A "bad 'keypress: keys must be a list of one key or more';shot!"},
	{"{'type':'computer_call','call_id':'c'}",
		A "bad 'a computer_call needs action or actions';shot!"},
	{"{'output':[{'type':'message'},{'type':'computer_call','call_id':'1','action':"
	 "{'type':'wait'}}]}",
		A "wait 1000ms;shot!"},
#undef A
#define A "gemini:"
	{"{'functionCall':{'name':'click_at','args':{'x':500,'y':1000}}}",
		A "click b0 n1 500,1000%"},
	{"{'name':'click','args':{'x':5,'y':1001}}",
		A "bad 'click: y is 1001; it must be from 0 to 1000'"},
	{"{'function_call':{'name':'type_text_at','args':{'x':1,'y':2,'text':'a'}}}",
		A "type 1,2% 'a' clear"},
	{"{'name':'type_text_at','args':{'x':1,'y':2,'text':'a','press_enter':true,"
	 "'clear_before_typing':false}}",
		A "type 1,2% 'a' enter"},
	{"{'name':'scroll_document','args':{'direction':'up'}}", A "scroll d1 800 0,0"},
	{"{'name':'wait_5_seconds','args':{}}", A "wait 5000ms"},
	{"{'name':'search'}", A "go 'https://www.google.com/'"},
	{"{'name':'key_combination','args':{'keys':'control+a'}}", A "key a/2"},
	{"{'name':'hotkey','args':{'keys':['control','a']}}", A "key a/2"},
	{"{'name':'drag_and_drop','args':{'x':1,'y':2,'destination_x':3,'destination_y':4}}",
		A "drag 1,2> 3,4%"},
	{"{'role':'model','parts':[{'text':'x'},{'functionCall':{'name':'go_back'}},"
	 "{'functionCall':{'name':'my_own'}}]}",
		A "back"},
	{"{'candidates':[{'content':{'parts':[{'functionCall':{'name':'go_forward'}}]}}]}",
		A "forward"},
	{"{'name':'click_at','args':{'x':1,'y':2}}", NULL, "gemini-3"},
	{"[{'functionCall':{'name':'key_down','args':{'key':'shift'}}},{'functionCall':"
	 "{'name':'key_up','args':{'key':'shift'}}}]",
		A "down Shift/1;up Shift/1"},
	{"{'a':1}", "400 the body holds no computer action of a known form"},
	{"[]", "400 the body holds no computer action of a known form"},
	{"[[[]],1,null]", "400 the body holds no computer action of a known form"},
	{"{'action':'wait'}", "400 'version': nobody has \"none\"", "none"},
};

/* ' in the table is " in JSON. */
static void quotes(const char *from, char *to)
{
	for (; *from; from++)
		*to++ = *from == '\'' ? '"' : *from;
	*to = '\0';
}

static void requests_are_read(void **state)
{
	char text[1024], out[2048];

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		quotes(requests[i].text, text);
		show(text, requests[i].version, out, sizeof(out));
		if (!requests[i].want) {
			assert_non_null(strstr(out, "is no action here; there are "));
			continue;
		}
		assert_string_equal(out, requests[i].want);
	}
}

/* The answer to a text as JSON when every action went as `results` says. */
static char *answer(const char *text, const struct action_result *results, size_t n)
{
	char json[2048];
	struct plan p = {0};
	struct err err;
	cJSON *body, *o;
	char *ret;

	quotes(text, json);
	body = cJSON_Parse(json);
	assert_int_equal(plan_read(&p, body, NULL, NULL, &err), 0);
	assert_int_equal(p.n_actions, n);
	o = plan_answer(&p, results);
	ret = cJSON_PrintUnformatted(o);
	cJSON_Delete(o);
	cJSON_Delete(body);
	plan_done(&p);
	return ret;
}

static char picture[] = "iVBO", boom[] = "boom", note[] = "A new tab.", url[] = "http://a/";

static char tabs_state[] = "{\"tabs\":[{\"tab_id\":\"T\",\"title\":\"\",\"url\":\"http://a/\","
			   "\"active\":true}]}";
#define STATE                                                                                  \
	"{\"tabs\":[{\"tab_id\":\"T\",\"title\":\"\",\"url\":\"http://a/\",\"active\":true}]," \
	"\"type\":\"browser_state\"}"

static void answers_of_the_browser_toolset(void **unused)
{
	const struct action_result r[] = {{.done = true, .notes = note},
		{.done = true, .state = tabs_state}, {.done = true, .text = boom, .image = picture},
		{.done = true, .state = tabs_state}, {.done = true, .failed = true, .text = boom},
		{0}, {0}, {0}};
	AUTOFREE char *list =
		answer("[{'type':'tool_use','id':'1','toolset_name':'browser','name':"
		       "'hover','input':{'target':{'type':'ref','ref':'ref_7'}}},"
		       "{'name':'screenshot','input':{'tab_id':'T'}},"
		       "{'name':'list_tabs','input':{}},{'name':'new_tab','input':{}}]",
			r, 8);
	const struct action_result s[] = {
		{.done = true, .text = boom}, {.done = true, .notes = note, .state = tabs_state}};
	AUTOFREE char *tabs = answer("{'name':'list_tabs','input':{}}", s, 2);

	(void)unused;
	assert_string_equal(list,
		"[{\"type\":\"tool_result\",\"tool_use_id\":\"1\",\"toolset_name\":\"browser\","
		"\"content\":[{\"type\":\"text\",\"text\":\"Hovered.\\nA new tab.\"}," STATE
		"],\"is_error\":false},"
		"{\"type\":\"tool_result\",\"content\":[{\"type\":\"text\",\"text\":\"boom\"},{"
		"\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\","
		"\"data\":\"iVBO\"}}," STATE "],\"is_error\":false},"
		"{\"type\":\"tool_result\",\"content\":[{\"type\":\"text\",\"text\":\"boom\"}],"
		"\"is_error\":true},"
		"{\"type\":\"tool_result\",\"content\":[{\"type\":\"text\",\"text\":\"Not "
		"executed: "
		"an earlier computer action in this turn failed.\"}],\"is_error\":true}]");
	/* Of tabs nothing but the report is told. */
	assert_string_equal(
		tabs, "{\"type\":\"tool_result\",\"content\":[" STATE "],\"is_error\":false}");
}

static void members_are_enabled(void **unused)
{
	static const struct {
		const char *text, *want;
	} cases[] = {{"{\"name\":\"javascript_exec\",\"input\":{\"text\":\"1\"}}",
			     "evaluate '1' script;report"},
		{"{\"name\":\"file_upload\",\"input\":{\"target\":{\"type\":\"ref\",\"ref\":"
		 "\"ref_7\"},\"paths\":[\"a\",\"b\"]}}",
			"upload 'a\nb' r7;report"},
		{"{\"name\":\"file_upload\",\"input\":{\"target\":{\"type\":\"ref\",\"ref\":"
		 "\"ref_7\"},\"document_ids\":[\"a\"]}}",
			"bad 'file_upload: there are no staged documents here; name files in "
			"paths';report"},
		{"{\"name\":\"read_network\",\"input\":{}}",
			"bad 'read_network is not available in this browser.';report"}};
	struct plan p = {0};
	struct err err;

	(void)unused;
	assert_true(plan_enable(&p, "javascript_exec,find", &err) < 0);
	plan_done(&p);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cJSON *body = cJSON_Parse(cases[i].text);
		struct buf b;

		assert_int_equal(
			plan_enable(&p, "javascript_exec,file_upload,read_network", &err), 0);
		assert_int_equal(plan_read(&p, body, NULL, NULL, &err), 0);
		buf_init(&b, 1000);
		for (size_t k = 0; k < p.n_actions; k++)
			show_action(&b, &p.actions[k]);
		assert_string_equal(buf_str(&b), cases[i].want);
		buf_done(&b);
		plan_done(&p);
		cJSON_Delete(body);
	}
}

static void answers_of_anthropic(void **state)
{
	const struct action_result r[] = {
		{.done = true, .notes = note}, {.done = true, .failed = true, .text = boom}, {0}};
	AUTOFREE char *list =
		answer("[{'type':'tool_use','id':'1','toolset_name':'computer','name':'key','input'"
		       ":{'text':'a'}},"
		       "{'type':'tool_use','id':'2','toolset_name':'computer','name':'scroll','"
		       "input':{'scroll_direction':'up','scroll_amount':2}},"
		       "{'type':'tool_use','id':'3','toolset_name':'computer','name':'screenshot','"
		       "input':{}}]",
			r, 3);
	const struct action_result s[] = {{.done = true}, {.done = true, .image = picture}};
	AUTOFREE char *one = answer("{'action':'wait','duration':2}", s, 2);

	assert_string_equal(list,
		"[{\"type\":\"tool_result\",\"tool_use_id\":\"1\",\"toolset_name\":\"computer\","
		"\"content\":[{\"type\":\"text\","
		"\"text\":\"Pressed a.\\nA new tab.\"}],\"is_error\":false},"
		"{\"type\":\"tool_result\",\"tool_use_id\":\"2\",\"toolset_name\":\"computer\","
		"\"content\":[{\"type\":\"text\","
		"\"text\":\"boom\"}],\"is_error\":true},"
		"{\"type\":\"tool_result\",\"tool_use_id\":\"3\",\"toolset_name\":\"computer\","
		"\"content\":[{\"type\":\"text\","
		"\"text\":\"Not executed: an earlier computer action in this turn "
		"failed.\"}],\"is_error\":true}]");
	assert_string_equal(one,
		"{\"type\":\"tool_result\",\"content\":[{\"type\":\"text\",\"text\":\"Waited "
		"2s.\"},{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":"
		"\"image/png\",\"data\":\"iVBO\"}}],\"is_error\":false}");
}

static void answers_of_openai(void **state)
{
	const struct action_result r[] = {
		{.done = true, .failed = true, .text = boom}, {.done = true, .image = picture}};
	AUTOFREE char *one = answer("{'type':'computer_call','call_id':'c','pending_safety_checks':"
				    "[{'id':'s'}],'action':{'type':'wait'}}",
		r, 2);
	AUTOFREE char *list =
		answer("[{'type':'computer_call','call_id':'c','action':{'type':'wait'}}]", r, 2);

	assert_string_equal(one,
		"{\"type\":\"computer_call_output\",\"call_id\":\"c\",\"output\":{\"type\":"
		"\"computer_screenshot\",\"image_url\":\"data:image/"
		"png;base64,iVBO\"},\"acknowledged_safety_checks\":[{\"id\":\"s\"}]}");
	assert_non_null(strstr(list, "{\"type\":\"message\",\"role\":\"user\",\"content\":[{"
				     "\"type\":\"input_text\",\"text\":\"boom\"}]}]"));
}

static void answers_of_gemini(void **state)
{
	const struct action_result r[] = {{.done = true, .url = url, .notes = note},
		{.done = true, .image = picture, .url = url}};
	AUTOFREE char *one = answer("{'functionCall':{'id':'7','name':'go_back','args':{'safety_"
				    "decision':{'decision':'require_confirmation'}}}}",
		r, 2);

	assert_string_equal(one,
		"{\"functionResponse\":{\"id\":\"7\",\"name\":\"go_back\",\"response\":{\"url\":"
		"\"http://a/\",\"safety_acknowledgement\":\"true\",\"message\":\"A new "
		"tab.\"},\"parts\":[{\"inlineData\":{\"mimeType\":\"image/"
		"png\",\"data\":\"iVBO\"}}]}}");
}

/* More actions than a request may have: none is left to be done, and each call is told. */
static void too_many(void **state)
{
	cJSON *list = cJSON_CreateArray();
	struct plan p = {0};
	struct err err;

	for (int i = 0; i <= PLAN_ACTIONS_MAX; i++)
		cJSON_AddItemToArray(list, cJSON_Parse("{\"action\":\"left_mouse_down\"}"));
	assert_int_equal(plan_read(&p, list, NULL, NULL, &err), 0);
	assert_int_equal(p.n_calls, PLAN_ACTIONS_MAX + 1);
	for (size_t i = 0; i < p.n_actions; i++)
		assert_int_equal(p.actions[i].kind, ACTION_BAD);
	assert_non_null(
		strstr(p.actions[0].text, "one request may have 200 actions, and this has 201"));
	plan_done(&p);
	cJSON_Delete(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_read),
		cmocka_unit_test(answers_of_anthropic),
		cmocka_unit_test(answers_of_the_browser_toolset),
		cmocka_unit_test(members_are_enabled),
		cmocka_unit_test(answers_of_openai),
		cmocka_unit_test(answers_of_gemini),
		cmocka_unit_test(too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
