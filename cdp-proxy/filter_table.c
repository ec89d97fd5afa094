/* The table of CDP commands: what happens to each, by role. docs/cdp-filter.md explains it. */
#include "filter.h"

#include "util.h"

#define PASS(domain)                                  \
	{                                             \
		domain ".*", ACT_PASS, ACT_PASS, NULL \
	}
#define ADMIN_ONLY(method, why)                   \
	{                                         \
		method, ACT_REFUSE, ACT_PASS, why \
	}
#define SAME(method, action)                 \
	{                                    \
		method, action, action, NULL \
	}

#define ENDS "this would end or hang the agent's browser; use `berth restart`"
#define FACTS "facts about the machine are for admins"
#define TRACES "tracing sees every page of the browser and is for admins"
#define REACH "this reaches beyond the agent's pages and is for admins"

/* A method of its own stands before its domain's row counts; the order is free. */
const struct filter_row filter_rows[] = {
	/* what ends the browser */
	SAME("Browser.close", ACT_DETACH),
	ADMIN_ONLY("Browser.crash", ENDS),
	ADMIN_ONLY("Browser.crashGpuProcess", ENDS),
	ADMIN_ONLY("Page.crash", ENDS),
	ADMIN_ONLY("Memory.*", ENDS),
	{"Memory.getDOMCounters", ACT_PASS, ACT_PASS, NULL},

	/* files */
	SAME("Browser.setDownloadBehavior", ACT_DOWNLOAD),
	SAME("Page.setDownloadBehavior", ACT_DOWNLOAD),
	{"DOM.setFileInputFiles", ACT_UPLOAD, ACT_PASS, NULL},
	{"Input.dispatchDragEvent", ACT_DRAG, ACT_PASS, NULL},
	ADMIN_ONLY("Extensions.*", "extensions are part of the image; " REACH),
	ADMIN_ONLY("PWA.*", REACH),

	/* pages that are not the web's */
	{"Page.navigate", ACT_URL, ACT_PASS, NULL},
	{"Target.createTarget", ACT_URL, ACT_PASS, NULL},
	{"Network.loadNetworkResource", ACT_URL, ACT_PASS, NULL},
	ADMIN_ONLY("Target.openDevTools", REACH),

	/* what goes around this filter or out of the browser */
	SAME("Target.sendMessageToTarget", ACT_NESTED),
	ADMIN_ONLY("Target.exposeDevToolsProtocol", "it would give CDP to the page; " REACH),
	ADMIN_ONLY("Target.setRemoteLocations", REACH),
	ADMIN_ONLY("Tethering.*", REACH),
	ADMIN_ONLY("Browser.executeBrowserCommand", REACH),
	ADMIN_ONLY("Cast.*", REACH),

	/* tracing and system information */
	ADMIN_ONLY("Tracing.*", TRACES),
	ADMIN_ONLY("SystemInfo.*", FACTS),
	ADMIN_ONLY("Browser.getBrowserCommandLine", FACTS),
	ADMIN_ONLY("Browser.getHistograms", FACTS),
	ADMIN_ONLY("Browser.getHistogram", FACTS),
	ADMIN_ONLY("HeadlessExperimental.*", "frames on demand would blind the live view"),

	PASS("Accessibility"),
	PASS("Ads"),
	PASS("Animation"),
	PASS("Audits"),
	PASS("Autofill"),
	PASS("BackgroundService"),
	PASS("BluetoothEmulation"),
	PASS("Browser"),
	PASS("CSS"),
	PASS("CacheStorage"),
	PASS("Console"),
	PASS("CrashReportContext"),
	PASS("DOM"),
	PASS("DOMDebugger"),
	PASS("DOMSnapshot"),
	PASS("DOMStorage"),
	PASS("Database"),
	PASS("Debugger"),
	PASS("DeviceAccess"),
	PASS("DeviceOrientation"),
	PASS("DigitalCredentials"),
	PASS("Emulation"),
	PASS("EventBreakpoints"),
	PASS("FedCm"),
	PASS("Fetch"),
	PASS("FileSystem"),
	PASS("FindInPage"),
	PASS("HeapProfiler"),
	PASS("IO"),
	PASS("IndexedDB"),
	PASS("Input"),
	PASS("Inspector"),
	PASS("LayerTree"),
	PASS("Log"),
	PASS("Media"),
	PASS("Network"),
	PASS("Overlay"),
	PASS("Page"),
	PASS("Performance"),
	PASS("PerformanceTimeline"),
	PASS("Preload"),
	PASS("Profiler"),
	PASS("Runtime"),
	PASS("Schema"),
	PASS("Security"),
	PASS("ServiceWorker"),
	PASS("SmartCardEmulation"),
	PASS("Storage"),
	PASS("Target"),
	PASS("WebAudio"),
	PASS("WebAuthn"),
	PASS("WebMCP"),
};
const size_t filter_rows_count = ARRAY_SIZE(filter_rows);
