# Which arriving files are batches.

variable "ignored_files" {
  description = "Names of files and folders in the inbox that are ignored, since they are not batches; * matches any characters."
  type        = list(string)
  default = [
    "_SUCCESS", "_started_*", "_committed_*", "_temporary", "_delta_log", "_metadata", "_common_metadata",
    ".[!.]*", "*.tmp", "*.temp", "*.part", "*.partial", "*.filepart", "*.crdownload", "*.swp", "*~",
    "*.md5", "*.md5sum", "*.sha1", "*.sha256", "*.sha256sum", "*.sha512", "*.crc", "*.crc32", "*.sfv",
    "*.asc", "*.sig", "*.ok", "*.done", "*.ready", "manifest", "manifest.json", "manifest.checksum",
    "*.manifest", "*_manifest.json", "thumbs.db", "desktop.ini",
  ]

  validation {
    condition     = alltrue([for name in var.ignored_files : length(name) > 0 && !can(regex("[,/]|^\\s|\\s$|^[*?]*$", name))])
    error_message = "Each name in ignored_files must be without commas, slashes, and spaces at its ends, and must not consist of wildcards only, which would ignore every file."
  }

  validation {
    condition     = length(join(",", var.ignored_files)) <= 2048
    error_message = "ignored_files is too long for the environment of a Lambda function: at most 2,048 characters in total."
  }
}
