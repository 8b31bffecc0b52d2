# What arrives, and what of it is a batch.

variable "side_files" {
  description = "Names of files and folders in the inbox that are no batches and are passed over, with * for any characters."
  type        = list(string)
  default = [
    "_SUCCESS", "_started_*", "_committed_*", "_temporary", "_delta_log", "_metadata", "_common_metadata",
    ".[!.]*", "*.tmp", "*.temp", "*.part", "*.partial", "*.filepart", "*.crdownload", "*.swp", "*~",
    "*.md5", "*.md5sum", "*.sha1", "*.sha256", "*.sha256sum", "*.sha512", "*.crc", "*.crc32", "*.sfv",
    "*.asc", "*.sig", "*.ok", "*.done", "*.ready", "manifest", "manifest.json", "manifest.checksum",
    "*.manifest", "*_manifest.json", "thumbs.db", "desktop.ini",
  ]

  validation {
    condition     = alltrue([for name in var.side_files : length(name) > 0 && !can(regex("[,/]|^\\s|\\s$|^[*?]*$", name))])
    error_message = "side_files holds names without commas and slashes; one of * alone would pass over every file."
  }

  validation {
    condition     = length(join(",", var.side_files)) <= 2048
    error_message = "side_files is too long for the environment of a function: 2,048 characters at most in all."
  }
}
